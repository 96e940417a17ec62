"""The results of a run over the peers: as a table, as JSON, as a plot."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from loadtest.peers.measure import Delivered, Idle
from loadtest.report import CONSOLE

PAID_WAYS = {"liveroom": "Wallet.spend", "redis_py": "redis-py, one awaited call", "postgresql": "PostgreSQL"}

WIDE = 190  # columns of the table; in a pipe nothing wraps it


class Found(Struct, frozen=True, kw_only=True):
    """The results of one peer, or why it was left out."""

    name: str
    title: str
    version: str
    why_not: str | None
    rates: list[Delivered] = []
    rungs: list[Delivered] = []
    idle: Idle | None = None

    @property
    def sustained(self) -> str:
        """The highest rate of the ladder that the peer sustained."""
        held = [each.per_s for each in self.rungs if each.sustained]
        if held:
            return f"{max(held):g}"
        return f"< {self.rungs[0].per_s:g}" if self.rungs else "-"


class Run(Struct, frozen=True, kw_only=True):
    """The results of all peers, with the machine and the date."""

    date: str
    commit: str
    machine: dict[str, str]
    viewers: int
    seconds: float
    peers: list[Found]
    money: dict[str, Any] | None


def show(run: Run) -> None:
    """The table of loadtest/README.md."""
    if run.peers:
        _show_peers(run)
    if run.money:
        _show_money(run.money)


def _show_peers(run: Run) -> None:
    rates = sorted({each.per_s for peer in run.peers for each in peer.rates})
    title = f"{run.viewers} viewers: CPU per delivery, p50 / p99 from sent to received, share delivered"
    made = Table(title=title, title_justify="left")
    for head in ("", *(f"{rate:g}/s" for rate in rates), "idle viewer", "joins/s", "sustained/s"):
        made.add_column(head, no_wrap=True)
    for peer in (each for each in run.peers if each.why_not is None):
        by_rate = {each.per_s: each for each in peer.rates}
        cells = [_cell(by_rate.get(rate)) for rate in rates]
        idle = peer.idle
        made.add_row(
            peer.title,
            *cells,
            f"{idle.kib_each:.1f} KiB" if idle else "-",
            f"{idle.joins_per_s:.0f} ({idle.join_cpu_us:.0f} us)" if idle else "-",
            peer.sustained,
        )
    _wide(made)


def _cell(each: Delivered | None) -> str:
    if each is None:
        return "-"
    share = "all" if each.share == 1 else f"{each.share:.1%}"
    return f"{each.each_us:.2f} us  {_ms(each.heard.p50_ms)} / {_ms(each.heard.p99_ms)}  {share}"


def _ms(value: float) -> str:
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.0f} ms"


def _show_money(money: dict[str, Any]) -> None:
    made = Table(title=f"durable gifts, {money['liveroom']['in_flight']} in flight", title_justify="left")
    for head in ("", "gifts/s", "p50 / p99", "CPU per gift: driver, store"):
        made.add_column(head, no_wrap=True)
    for name, title in PAID_WAYS.items():
        if name in money:
            way = money[name]
            cpu = f"{way['driver_cpu_us_per_gift']} us, {way['store_cpu_us_per_gift']} us"
            made.add_row(title, f"{way['gifts_per_s']}", f"{way['p50_ms']} / {way['p99_ms']} ms", cpu)
    _wide(made)


def _wide(made: Table) -> None:
    """Print the table unwrapped, even in a pipe."""
    Console(highlight=False, width=max(CONSOLE.width, WIDE)).print(made)


def write(run: Run, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))


def read(path: Path) -> Run:
    """Raises OSError, msgspec.DecodeError, msgspec.ValidationError."""
    return msgspec.json.decode(path.read_bytes(), type=Run)


def plot(run: Run, path: Path) -> None:
    """Draw CPU per delivery and p99 over the offered rate, with a line for each peer."""
    import matplotlib as mpl  # noqa: PLC0415  # nothing else needs it

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, (cpu, late) = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for axes in (cpu, late):
        axes.set_prop_cycle(color=pyplot.get_cmap("tab20")(range(20)))  # more lines than the usual ten colours
    for peer in run.peers:
        every = sorted({each.per_s: each for each in (*peer.rungs, *peer.rates) if each.heard.messages}.items())
        rates = [rate for rate, _ in every]
        width = 2.5 if peer.name == "liveroom" else 1.2
        cpu.plot(rates, [each.each_us for _, each in every], "o-", label=peer.title, linewidth=width, markersize=3)
        (line,) = late.plot(rates, [each.heard.p99_ms for _, each in every], "o-", linewidth=width, markersize=3)
        lost = [each for _, each in every if each.share < 1]
        late.plot([each.per_s for each in lost], [each.heard.p99_ms for each in lost], "x", color=line.get_color())
    cpu.set(title="CPU of the server per delivered message", ylabel="us")
    late.set(title="99 of 100 messages are received after (x: not all were)", ylabel="ms")
    for axes in (cpu, late):
        axes.set(xscale="log", yscale="log", xlabel=f"messages per second, {run.viewers} viewers")
        axes.grid(visible=True, which="both", alpha=0.2)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(f"{run.date}, commit {run.commit}, {run.machine['machine']}", fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
