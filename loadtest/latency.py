"""`bench latency`: how long delivery takes and costs, quiet to loud and in small and large rooms, beside our aims."""

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from loadtest.peers import measure
from loadtest.peers.audience import compiled
from loadtest.peers.measure import Delivered
from loadtest.peers.ours import Liveroom
from loadtest.peers.peer import Peer
from loadtest.peers.picows import PicowsTick
from loadtest.processes import OTHER_CPU, pin
from loadtest.report import CONSOLE
from loadtest.wire import NotAdmitted

MODES = ("low", "balanced", "cheap")  # of LIVEROOM_LATENCY
ARRIVALS = {"even": measure.even, "poisson": measure.poisson}
POINTS = [  # viewers, events per second
    *((1000, per_s) for per_s in (1.0, 5.0, 20.0, 60.0, 200.0, 600.0, 1000.0, 2000.0)),
    *((viewers, 20.0) for viewers in (100, 300, 3000, 9000, 15_000)),
]
P99_MS = {  # what `balanced` aims at, with even and with Poisson arrivals
    (1000, 20.0): {"even": 12, "poisson": 12},
    (1000, 60.0): {"even": 15, "poisson": 20},
    (1000, 200.0): {"even": 25, "poisson": 25},
    (1000, 1000.0): {"even": 35, "poisson": 35},
    (3000, 20.0): {"even": 60, "poisson": 60},
    (9000, 20.0): {"even": 230, "poisson": 230},
}
EACH_US = {(1000, 1000.0): 0.75}  # likewise: CPU per delivery
CHEAP_PER_S, CHEAP_TIMES = (
    200.0,
    1.3,
)  # `cheap`, from this rate on: times the CPU of picows with a tick, in the same run
HEAD = "viewers   events/s  arrivals  latency    p50 ms   p99 ms  us each  delivered  closed  aims"


class Row(Struct, frozen=True, kw_only=True):
    """One measurement; `beside` is the peer's at the same point, if there is one to compare with."""

    viewers: int
    per_s: float
    arrivals: str
    mode: str
    found: Delivered
    beside: Delivered | None = None

    @property
    def aims(self) -> list[tuple[str, bool]]:
        """Each aim that we have at this point, and whether it is met."""
        found, point, told = self.found, (self.viewers, self.per_s), []
        if self.mode == "balanced" and point in P99_MS:
            p99_ms = P99_MS[point][self.arrivals]
            told.append((f"p99 <= {p99_ms} ms", found.share == 1 and found.heard.p99_ms <= p99_ms))
        if self.mode == "balanced" and point in EACH_US:
            told.append((f"<= {EACH_US[point]} us", found.each_us <= EACH_US[point]))
        if self.beside is not None:
            times = found.each_us / self.beside.each_us
            theirs = f"the {self.beside.each_us:.2f} us of {PicowsTick.title}"
            told.append((f"{times:.2f} <= {CHEAP_TIMES} times {theirs}", times <= CHEAP_TIMES))
        return told

    def line(self) -> str:
        found = self.found
        figures = f"{found.heard.p50_ms:8.1f} {found.heard.p99_ms:8.1f} {found.each_us:8.2f} {found.share:10.1%}"
        aims = ", ".join(f"{what}: {'met' if met else 'MISSED'}" for what, met in self.aims)
        at = f"{self.viewers:7} {self.per_s:10g}  {self.arrivals:8}  {self.mode:8} "
        return f"{at} {figures} {found.heard.closed:7}  {aims}".rstrip()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", type=points, default=POINTS, metavar="1000x20,1000x200", help="latency: viewers x events per second"
    )
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, help="latency: of LIVEROOM_LATENCY")
    parser.add_argument("--arrivals", nargs="+", choices=list(ARRIVALS), default=list(ARRIVALS), help="latency")


def points(text: str) -> list[tuple[int, float]]:
    """Viewers and events per second of each point. Raises ValueError."""
    found = [part.split("x") for part in text.split(",")]
    return [(int(viewers), float(per_s)) for viewers, per_s in found]


def latency(args: argparse.Namespace) -> None:
    """Measure every point in each mode, one after the other, with even and with Poisson arrivals."""
    pin(os.getpid(), OTHER_CPU)
    with tempfile.TemporaryDirectory(prefix="liveroom-latency-") as folder:
        try:
            program = compiled(Path(folder))
        except RuntimeError as error:
            CONSOLE.print(str(error))
            return
        if why_not := PicowsTick().why_not():
            CONSOLE.print(f"{PicowsTick.title}: left out, {why_not}")
        CONSOLE.print(HEAD)
        met = [met for row in _rows(args, program) for _, met in row.aims]
    CONSOLE.print(f"aims met: {sum(met)} of {len(met)}")


def _rows(args: argparse.Namespace, program: Path) -> Iterator[Row]:
    """Measure; each row is printed at once. What cannot be measured is reported and skipped."""
    picows = PicowsTick().why_not() is None
    for viewers, per_s in args.only:
        for arrivals in args.arrivals:

            def at(peer: Peer, viewers: int = viewers, per_s: float = per_s, arrivals: str = arrivals) -> Delivered:
                return measure.deliver(peer, program, viewers, per_s, args.seconds, arrivals=ARRIVALS[arrivals])

            for mode in args.modes:
                try:
                    compares = picows and mode == "cheap" and per_s >= CHEAP_PER_S
                    beside = at(PicowsTick()) if compares else None
                    found = at(Liveroom(mode, args.folder))
                except (NotAdmitted, RuntimeError, OSError) as error:
                    CONSOLE.print(f"{viewers} viewers, {per_s:g} events/s, {mode}: {error}", markup=False)
                    continue
                row = Row(viewers=viewers, per_s=per_s, arrivals=arrivals, mode=mode, found=found, beside=beside)
                CONSOLE.print(row.line(), markup=False)
                yield row
