"""The command: measures our server and every installed peer, and prints a table. `--json` and `--plot` save it."""

import argparse
import contextlib
import functools
import os
import subprocess
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
from loadtest.peers.floor import Floor, FloorTick
from loadtest.peers.found import Found, Run
from loadtest.peers.measure import Delivered
from loadtest.peers.nchan import Nchan
from loadtest.peers.ours import Liveroom
from loadtest.peers.peer import Peer
from loadtest.peers.picows import Picows, PicowsTick
from loadtest.peers.plain import StarletteLoop, WebsocketsBroadcast
from loadtest.peers.socketio import SocketIo
from loadtest.peers.ws import Ws, WsTick
from loadtest.processes import OTHER_CPU, pin, raise_file_limit
from loadtest.report import CONSOLE
from loadtest.wire import NotAdmitted

OTHERS = (StarletteLoop, WebsocketsBroadcast, SocketIo, Nchan, Nats, Mosquitto)
WITH_AND_WITHOUT_TICK = (Picows, PicowsTick, Ws, WsTick, Floor, FloorTick)
PEERS: dict[str, type[Peer]] = {each.name: each for each in (Liveroom, *WITH_AND_WITHOUT_TICK, *OTHERS)}
RATES = [20.0, 60.0, 200.0, 1000.0]
BUSY_MAX = 0.15  # part of all cores that other programs may use during a measurement
T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--viewers", type=int, default=1000, help="sockets in the room")
    parser.add_argument("--events-per-s", type=float, nargs="+", default=RATES, help="messages per second")
    parser.add_argument("--seconds", type=float, default=5, help="length of each measurement")
    parser.add_argument("--connections", type=int, default=3000, help="idle sockets, for memory and joins; 0: none")
    parser.add_argument("--only", nargs="+", choices=[*PEERS, "money"], help="measure only these")
    parser.add_argument("--repeat", type=int, default=1, help="rounds at each rate; the least CPU counts")
    parser.add_argument("--no-ladder", action="store_true", help="leave out the highest rate that is sustained")
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
    with tempfile.TemporaryDirectory(prefix="liveroom-peers-") as folder:
        try:
            program = compiled(Path(folder))
        except RuntimeError as error:
            CONSOLE.print(str(error))
            return 2
        all_found = _measured([make for name, make in PEERS.items() if name in only], program, args)
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


def _measured(chosen: list[type[Peer]], program: Path, args: argparse.Namespace) -> list[Found]:
    """Measure all that can be started; the others say why not. A measurement that fails is reported and skipped."""
    versions, left_out = _found_here(chosen)
    here = [make for make in chosen if make.name in versions]

    def tried(make: type[Peer], what: str, do: Callable[[], T]) -> T | None:
        _quietly(args.quiet_s)
        try:
            return do()
        except (NotAdmitted, RuntimeError, OSError) as error:
            CONSOLE.print(f"  {make.title}, {what}: {error}", markup=False)
            return None

    runs: dict[tuple[str, float], list[Delivered]] = {}
    for per_s in args.events_per_s:
        for _ in range(args.repeat):  # rounds over all peers: the machine varies from minute to minute
            for make in here:
                at = functools.partial(measure.deliver, make(), program, args.viewers, per_s, args.seconds)
                if run := tried(make, f"{per_s:g}/s", at):
                    runs.setdefault((make.name, per_s), []).append(run)
    found_here = []
    for make in here:
        rates = [runs[make.name, per_s] for per_s in args.events_per_s if (make.name, per_s) in runs]
        climb = functools.partial(measure.climb, make, program, args.viewers)
        idle = functools.partial(measure.idle, make(), program, args.connections)
        found_here.append(
            Found(
                name=make.name,
                title=make.title,
                version=versions[make.name],
                rates=[min(of_rate, key=lambda each: each.each_us) for of_rate in rates],
                rungs=[] if args.no_ladder else tried(make, "ladder", climb) or [],
                idle=tried(make, "idle", idle) if args.connections else None,
                why_not=None,
            )
        )
    return found_here + left_out


def _found_here(chosen: list[type[Peer]]) -> tuple[dict[str, str], list[Found]]:
    """The versions of the peers that can be started, by name, and the others."""
    versions, left_out = {}, []
    for make in chosen:
        peer = make()
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            peer.prepare()
        if why_not := peer.why_not():
            CONSOLE.print(f"{make.title}: left out, {why_not}")
            left_out.append(Found(name=make.name, title=make.title, version="", why_not=why_not))
        else:
            versions[make.name] = peer.version()
            CONSOLE.print(f"{make.title}: {versions[make.name]}")
    return versions, left_out


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
