"""The command: measures our server and every installed peer, and prints a table. `--json` and `--plot` save it."""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from loadtest import money, report
from loadtest.peers import found, measure
from loadtest.peers.audience import compiled
from loadtest.peers.brokers import Mosquitto, Nats
from loadtest.peers.found import Found, Run
from loadtest.peers.nchan import Nchan
from loadtest.peers.ours import Liveroom
from loadtest.peers.peer import Peer
from loadtest.peers.plain import StarletteLoop, WebsocketsBroadcast
from loadtest.peers.socketio import SocketIo
from loadtest.processes import OTHER_CPU, pin, raise_file_limit
from loadtest.report import CONSOLE
from loadtest.wire import NotAdmitted

PEERS: dict[str, type[Peer]] = {
    each.name: each for each in (Liveroom, StarletteLoop, WebsocketsBroadcast, SocketIo, Nchan, Nats, Mosquitto)
}
BUSY_MAX = 0.15  # part of all cores that other programs may use during a measurement
T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--viewers", type=int, default=1000, help="sockets in the room")
    parser.add_argument("--events-per-s", type=float, nargs="+", default=[60.0, 200.0, 1000.0], help="messages per s")
    parser.add_argument("--seconds", type=float, default=5, help="length of each measurement")
    parser.add_argument("--connections", type=int, default=3000, help="idle sockets, to measure memory and joins")
    parser.add_argument("--only", nargs="+", choices=[*PEERS, "money"], help="measure only these")
    parser.add_argument("--repeat", type=int, default=1, help="runs at each rate; the one with the least CPU counts")
    parser.add_argument("--quiet-s", type=float, default=60, help="wait at most so long for an idle machine")
    parser.add_argument(
        "--folder", type=Path, help="money: where the stores write; its disk is part of the measurement"
    )
    parser.add_argument("--json", type=Path, help="write all results to this file")
    parser.add_argument("--plot", type=Path, help="draw it (.svg or .png; needs matplotlib)")


def run(args: argparse.Namespace) -> int:
    only = args.only or [*PEERS, "money"]
    raise_file_limit()
    pin(os.getpid(), OTHER_CPU)
    report.describe_machine()
    all_found = []
    with tempfile.TemporaryDirectory(prefix="liveroom-peers-") as folder:
        try:
            program = compiled(Path(folder))
        except RuntimeError as error:
            CONSOLE.print(str(error))
            return 2
        for name, make in PEERS.items():
            if name in only:
                all_found.append(_measured(make, program, args))
    paid = None
    if "money" in only:
        _quietly(args.quiet_s)
        paid = money.measured(args, "spend", "--seconds", str(args.seconds))
    ran = Run(
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        commit=report.commit(),
        machine=report.machine(),
        viewers=args.viewers,
        seconds=args.seconds,
        peers=all_found,
        money=paid,
    )
    found.show(ran)
    if args.json:
        found.write(ran, args.json)
    if args.plot:
        found.plot(ran, args.plot)
    return 0


def _measured(make: type[Peer], program: Path, args: argparse.Namespace) -> Found:
    """Measure everything of one peer. A measurement that fails is reported and skipped."""
    peer = make()
    with contextlib.suppress(OSError):
        peer.prepare()
    if why_not := peer.why_not():
        CONSOLE.print(f"{make.title}: left out, {why_not}")
        return Found(name=make.name, title=make.title, version="", why_not=why_not)
    CONSOLE.print(f"{make.title}: {peer.version()}")

    def tried(what: str, do: Callable[[], T]) -> T | None:
        _quietly(args.quiet_s)
        try:
            return do()
        except (NotAdmitted, RuntimeError, OSError) as error:
            CONSOLE.print(f"  {what}: {error}", markup=False)
            return None

    rates = []
    for per_s in args.events_per_s:
        runs = [
            tried(f"{per_s:g}/s", lambda: measure.deliver(make(), program, args.viewers, per_s, args.seconds))  # noqa: B023  # called at once
            for _ in range(args.repeat)
        ]
        rates += [min(done, key=lambda each: each.each_us)] if (done := [run for run in runs if run]) else []
    rungs = tried("ladder", lambda: measure.climb(make, program, args.viewers)) or []
    idle = tried("idle", lambda: measure.idle(make(), program, args.connections))
    return Found(
        name=make.name, title=make.title, version=peer.version(), rates=rates, rungs=rungs, idle=idle, why_not=None
    )


def _quietly(seconds: float) -> None:
    """Wait until other programs leave the cores idle, at most `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        busy, all_s = _busy()
        time.sleep(1)
        now_busy, now_all_s = _busy()
        if (now_busy - busy) / max(1, now_all_s - all_s) <= BUSY_MAX:
            return


def _busy() -> tuple[int, int]:
    """Ticks in which the cores were busy, and all ticks (proc(5): the first line of stat)."""
    ticks = [int(part) for part in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtest.peers", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
