"""The benchmarks: fan-out, gifts, memory, joins, on a server started for each. They print figures and write no file."""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from loadtest import (
    attacked,
    attackers,
    delivery,
    entering,
    floods,
    latency,
    money,
    naive,
    overload,
    report,
    ruled,
    talking,
)
from loadtest.api import Api
from loadtest.audience import Audience
from loadtest.flood import flood
from loadtest.processes import (
    NODE_CPU,
    OTHER_CPU,
    SERVICE_KEY,
    Served,
    pin,
    raise_file_limit,
    rss_kib,
    socket_path,
)
from loadtest.report import CONSOLE

ROOM = "bench"
SETTLE_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    by_default = [name for name in _BENCHES if name not in _LONG]
    parser.add_argument(
        "what", nargs="*", default=by_default, help=f"of {', '.join(_BENCHES)}; default: all but {', '.join(_LONG)}"
    )
    rates, ways = [30.0, 60.0, 200.0, 1000.0], list(naive.WAYS)
    parser.add_argument(
        "--viewers", type=int, default=1000, help="fanout, ruled, slow, overload, floods, hostile, quiet: in the room"
    )
    parser.add_argument("--events-per-s", type=float, nargs="+", default=rates, help="fanout: chat messages per second")
    parser.add_argument("--beside", nargs="*", choices=ways, default=ways, help="fanout: plain servers to compare with")
    parser.add_argument("--chats-per-s", type=float, nargs="+", default=[200.0, 1000.0, 2000.0], help="chats: rates")
    parser.add_argument("--talkers", type=int, default=talking.TALKERS, help="chats: sockets that talk and listen")
    parser.add_argument("--rules", action="store_true", help="chats: 11,500 phrases are looked for, and links")
    parser.add_argument("--limit", type=int, default=overload.LIMIT_PER_S, help="overload: the room's chats per second")
    parser.add_argument("--rounds", type=int, default=1, help="overload, ruled: how often")
    parser.add_argument("--flooders", type=int, default=8, help="floods, hostile: sockets of each kind")
    kinds = ", ".join(attackers.KINDS)
    parser.add_argument(
        "--kinds", nargs="+", default=[], choices=list(attackers.KINDS), metavar="KIND", help=f"hostile: {kinds}"
    )
    parser.add_argument("--hall", type=int, default=9000, help="hall: sockets in the room")
    parser.add_argument("--seconds", type=float, default=10, help="length of each measurement")
    parser.add_argument("--connections", type=int, default=5000, help="memory: idle sockets")
    parser.add_argument("--joins", type=int, default=5000, help="joins: number of people")
    parser.add_argument("--people", type=int, default=5000, help="storm: number of people who come back")
    parser.add_argument("--rate", type=float, default=3000, help="storm: of them per second; 0: all at once")
    parser.add_argument("--missed", type=int, default=500, help="storm: chats since the first of them left")
    parser.add_argument("--givers", type=int, default=50, help="gifts: sockets that send gifts")
    parser.add_argument("--gifts", type=int, default=200_000, help="drain: number of gifts")
    parser.add_argument("--entries", type=int, default=1_000_000, help="audit: in the journal")
    latency.add_arguments(parser)
    parser.add_argument("--folder", type=Path, help="where the server writes; its disk is part of the measurement")


def run(args: argparse.Namespace) -> int:
    unknown = [what for what in args.what if what not in _BENCHES]
    if unknown:
        CONSOLE.print(f"no such measurement: {', '.join(unknown)}")
        return 2
    raise_file_limit()
    report.describe_machine()
    return max(_BENCHES[what](args) or 0 for what in args.what)


# --- gifts ---------------------------------------------------------------------------------------------------------
def _gifts(args: argparse.Namespace) -> None:
    """Gifts over websockets: each socket has its own room, and always some gifts in flight."""
    pin(os.getpid(), OTHER_CPU)
    with Served(args.folder) as served:
        api = Api(served.url, SERVICE_KEY)
        for number in range(args.givers):
            api.open_room(f"{ROOM}-{number}")
            api.top_up(f"giver-{number}", 10_000_000, f"bench-{number}")
        pin(served.node, NODE_CPU)
        figures = uvloop.run(flood(served, args.givers, args.seconds))
    report.table(
        f"gifts over websockets: {args.givers} givers, {args.seconds:g} s, stores and driver on one core", figures
    )


# --- memory ----------------------------------------------------------------------------------------------
def _memory(args: argparse.Namespace) -> None:
    """Resident memory of the node: idle, and what each additional idle viewer costs."""
    some = min(1000, args.connections)  # they fill caches and load code, which a node pays for once
    with Served(args.folder) as served, tempfile.TemporaryDirectory() as folder:
        Api(served.url, SERVICE_KEY).open_room(ROOM)
        served.spread(NODE_CPU, OTHER_CPU)
        time.sleep(2 * SETTLE_S)
        idle = rss_kib(served.node)
        paths = Path(folder) / "paths"
        held, audiences = [], []
        for first, count in ((0, some), (some, args.connections)):
            paths.write_text("\n".join(socket_path(ROOM, f"viewer-{first + n}") for n in range(count)))
            audience = Audience(served.url, paths, count, 3600, cpu=OTHER_CPU, folder=Path(folder))
            audiences.append(audience)
            audience.wait_ready()
            time.sleep(4 * SETTLE_S)
            held.append(rss_kib(served.node))
        for audience in audiences:
            audience.end()
        time.sleep(2 * SETTLE_S)
        after = rss_kib(served.node)
    report.table(
        f"memory of the node: {args.connections} more idle viewers, all different people",
        {
            "idle": f"{idle / 1024:.1f} MiB RSS  (target <= 65)",
            f"with {some}": f"{held[0] / 1024:.1f} MiB",
            f"with {some + args.connections}": f"{held[1] / 1024:.1f} MiB  (target <= 110 with 15000)",
            "per additional idle viewer": f"{(held[1] - held[0]) / args.connections:.2f} KiB  (target <= 4)",
            "after all have left": f"{after / 1024:.1f} MiB",
        },
    )


_LONG = ("latency", "overload", "ruled")  # half an hour, or a C compiler: only if it is named
_BENCHES: dict[str, Callable[[argparse.Namespace], int | None]] = {  # 1 from those that judge
    "fanout": delivery.fanout,
    "chats": talking.chats,
    "ruled": ruled.ruled,
    "hall": delivery.hall,
    "slow": delivery.slow,
    "overload": overload.overload,
    "floods": floods.floods,
    "hostile": attacked.hostile,
    "quiet": delivery.quiet,
    "latency": latency.latency,
    "spend": money.spend,
    "drain": money.drain,
    "reversals": money.reversals,
    "audit": money.audit,
    "gifts": _gifts,
    "memory": _memory,
    "joins": entering.joins,
    "storm": entering.storm,
}
