"""Shows a run while it goes on: a live table in a terminal, elsewhere a line every few seconds."""

from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from loadtest.report import CONSOLE
from loadtest.results import Second

LINE_EVERY_S = 5
SHOWN_WRONG = 5


class LiveView:
    """`with LiveView(expected_s) as view:`, then `view.update(...)` once a second."""

    def __init__(self, expected_s: float, console: Console = CONSOLE) -> None:
        self._expected_s = max(1.0, expected_s)
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._line_at_s = float("-inf")
        self._wrong_said = 0  # violations printed so far

    def __enter__(self) -> "LiveView":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, second: Second, phase: str, totals: dict[str, int], wrong: list[str]) -> None:
        if self._live is not None:
            self._live.update(self._picture(second, phase, totals, wrong), refresh=True)
            return
        for sentence in wrong[self._wrong_said : SHOWN_WRONG]:
            self._say(f"WRONG {sentence}")
        self._wrong_said = len(wrong)
        if second.at_s - self._line_at_s >= LINE_EVERY_S:
            self._line_at_s = second.at_s
            self._say(self._line(second, phase, wrong))

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False)  # a name may contain what looks like markup

    # --- elsewhere -----------------------------------------------------------------------------------------------
    def _line(self, second: Second, phase: str, wrong: list[str]) -> str:
        rates = [f"{name} {rate:,.0f}/s" for name, rate in second.rates.items() if rate]
        latencies = [f"{name} p50 {q.p50:.1f} p99 {q.p99:.1f} ms" for name, q in second.latencies.items() if q.count]
        cores = [f"{name} {used.cores:.2f} cores {used.rss_mib:.0f} MiB" for name, used in second.processes.items()]
        parts = [f"{second.open:,} open", *rates, *latencies, *cores, f"{len(wrong)} wrong"]
        return f"{second.at_s:.0f}/{self._expected_s:.0f} s {phase}: {', '.join(parts)}"

    # --- in a terminal -------------------------------------------------------------------------------------------
    def _picture(self, second: Second, phase: str, totals: dict[str, int], wrong: list[str]) -> Group:
        columns = Table.grid(padding=(0, 4, 0, 0))
        beside = [part for part in (_latencies(second), _processes(second)) if part is not None]
        columns.add_row(_happened(second, totals), Group(*beside))
        return Group(self._progress(second, phase), *_wrong(wrong), Text(), columns)

    def _progress(self, second: Second, phase: str) -> Table:
        left_s = max(0, round(self._expected_s - second.at_s))
        made = Table.grid(padding=(0, 2), expand=True)
        made.add_column(no_wrap=True)
        made.add_column(ratio=1)
        made.add_column(no_wrap=True, justify="right")
        bar = ProgressBar(total=self._expected_s, completed=min(second.at_s, self._expected_s))
        left = f"{left_s // 60}:{left_s % 60:02} left" if second.at_s < self._expected_s else "ending"
        made.add_row(Text(phase, style="bold"), bar, left)
        return made


def _wrong(wrong: list[str]) -> list[Text]:
    """The violations, above the tables: a small terminal cuts off the bottom."""
    shown = [f"WRONG {sentence}" for sentence in wrong[:SHOWN_WRONG]]
    if len(wrong) > SHOWN_WRONG:
        shown.append(f"and {len(wrong) - SHOWN_WRONG:,} more")
    return [Text(sentence, style="red", no_wrap=False, overflow="fold") for sentence in shown]


def _happened(second: Second, totals: dict[str, int]) -> Table:
    made = _table("", "per s", "so far")
    made.add_row("open sockets", f"{second.open:,}", "")
    for name in dict.fromkeys([*totals, *second.rates]):
        made.add_row(Text(name), f"{second.rates.get(name, 0):,.0f}", f"{totals[name]:,}" if name in totals else "")
    return made


def _latencies(second: Second) -> Table | None:
    made = _table("ms", "p50", "p99", "max")
    for name, found in second.latencies.items():
        if found.count:
            made.add_row(Text(name), f"{found.p50:,.1f}", f"{found.p99:,.1f}", f"{found.max:,.1f}")
    return made if made.row_count else None


def _processes(second: Second) -> Table | None:
    made = _table("server", "cores", "MiB")
    for name, used in second.processes.items():
        made.add_row(Text(name), f"{used.cores:.2f}", f"{used.rss_mib:,.0f}")
    if second.loop_lag_p99_ms is not None:
        made.add_row("loop lag p99, ms", f"{second.loop_lag_p99_ms:,.1f}", "")
    return made if made.row_count else None


def _table(*heads: str) -> Table:
    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for n, head in enumerate(heads):
        made.add_column(head, justify="right" if n else "left", no_wrap=True, min_width=7 if n else 17)
    return made
