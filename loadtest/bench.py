"""The figures, by hand, on a server that is started for them: fan-out, gifts, memory, joins. Writes nothing."""

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

import uvloop

from loadtest import money, report
from loadtest.api import Api
from loadtest.audience import Audience
from loadtest.flood import flood
from loadtest.person import mark
from loadtest.processes import (
    SERVICE_KEY,
    Served,
    cpu_s,
    pin,
    raise_file_limit,
    rss_kib,
    socket_path,
)
from loadtest.report import CONSOLE
from loadtest.wire import Socket
from protocol.client import RoomClient

NODE_CPU, OTHER_CPU = 0, 1
ROOM = "bench"
SETTLE_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="*", default=list(_BENCHES), help=f"of {', '.join(_BENCHES)}; all without it")
    parser.add_argument("--viewers", type=int, default=1000, help="fanout: sockets in the room")
    parser.add_argument("--events-per-s", type=float, default=60, help="fanout: chat messages per second")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--connections", type=int, default=5000, help="memory: idle sockets")
    parser.add_argument("--joins", type=int, default=5000, help="joins: how many")
    parser.add_argument("--givers", type=int, default=50, help="gifts: sockets that give")
    parser.add_argument("--gifts", type=int, default=100_000, help="drain: how many")
    parser.add_argument("--folder", type=Path, help="where the server writes: its disk is measured too")


def run(args: argparse.Namespace) -> int:
    unknown = [what for what in args.what if what not in _BENCHES]
    if unknown:
        CONSOLE.print(f"no such measurement: {', '.join(unknown)}")
        return 2
    raise_file_limit()
    report.describe_machine()
    for what in args.what:
        _BENCHES[what](args)
    return 0


# --- fan-out -------------------------------------------------------------------------------------------------------
def _fanout(args: argparse.Namespace) -> None:
    """One bot says so many messages a second to so many viewers: what does a delivered one cost the node?"""
    pin(os.getpid(), OTHER_CPU)
    with Served(args.folder) as served, tempfile.TemporaryDirectory() as folder:
        api = Api(served.url, SERVICE_KEY)
        api.open_room(ROOM)
        served.spread(NODE_CPU, OTHER_CPU)
        path, stays_s = socket_path(ROOM, "fan"), args.seconds + 3 * SETTLE_S
        audience = Audience(served.url, path, args.viewers, stays_s, cpu=OTHER_CPU, folder=Path(folder))
        audience.wait_ready()
        time.sleep(SETTLE_S)
        used_s = cpu_s(served.node)
        said = uvloop.run(_publish(served, args.events_per_s, args.seconds))
        time.sleep(SETTLE_S / 2)
        used_s = cpu_s(served.node) - used_s
        heard = audience.heard()
    expected = said * args.viewers
    report.table(
        f"fan-out: {args.viewers} viewers, {args.events_per_s:g} events/s, {args.seconds:g} s",
        {
            "audience": audience.name,
            "delivered": f"{heard.messages} of {expected} ({heard.per_s:.0f} per s), {heard.closed} closed",
            "node CPU per delivered": f"{used_s / max(1, heard.messages) * 1e6:.2f} us  (target <= 12)",
            "node busy": f"{used_s / args.seconds * 100:.0f} % of a core",
            "said to received": f"p50 {heard.p50_ms:.1f}  p99 {heard.p99_ms:.1f}  max {heard.max_ms:.1f} ms",
        },
    )


async def _publish(served: Served, per_s: float, seconds: float) -> int:
    """How many messages a bot has said and got its ok for."""
    bot, gone = RoomClient(lambda: time.time_ns() // 1_000_000), asyncio.Event()
    answered = 0

    def hear(frame: str | bytes) -> None:
        nonlocal answered
        answered += sum(getattr(told, "ok", False) for told in bot.receive(frame))
        gone.set()

    socket = await Socket.connect(Api(served.url, SERVICE_KEY).address, socket_path(ROOM, "bot", "bot"), hear)
    began, said = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        while said < passed * per_s:
            socket.send(bot.chat(f"a message of the usual length {mark()}"))
            said += 1
        await asyncio.sleep(min(0.01, 1 / per_s))
    async with asyncio.timeout(10):
        while bot.unanswered:
            gone.clear()
            await gone.wait()
    socket.abort()
    return answered


# --- gifts ---------------------------------------------------------------------------------------------------------
def _gifts(args: argparse.Namespace) -> None:
    """The whole way: sockets that give as fast as their oks come, each in a room of its own."""
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


# --- memory and joins ----------------------------------------------------------------------------------------------
def _memory(args: argparse.Namespace) -> None:
    """Resident memory of the node: idle, and what each further idle viewer adds."""
    some = min(200, args.connections)
    with Served(args.folder) as served, tempfile.TemporaryDirectory() as folder:
        Api(served.url, SERVICE_KEY).open_room(ROOM)
        served.spread(NODE_CPU, OTHER_CPU)
        time.sleep(2 * SETTLE_S)
        idle = rss_kib(served.node)
        paths = Path(folder) / "paths"
        held, audiences = [], []
        for first, count in ((0, some), (some, args.connections)):  # the first warm caches and code paths up
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
        f"memory of the node: {args.connections} further idle viewers, all different people",
        {
            "idle": f"{idle / 1024:.1f} MiB RSS  (target <= 90 MB)",
            f"with {some}": f"{held[0] / 1024:.1f} MiB",
            f"with {some + args.connections}": f"{held[1] / 1024:.1f} MiB",
            "per further idle viewer": f"{(held[1] - held[0]) / args.connections:.2f} KiB  (target <= 8)",
            "after all have left": f"{after / 1024:.1f} MiB",
        },
    )


def _joins(args: argparse.Namespace) -> None:
    """People who come and stay, 100 at a time, until the welcome has come."""
    pin(os.getpid(), OTHER_CPU)
    with Served(args.folder) as served:
        Api(served.url, SERVICE_KEY).open_room(ROOM)
        served.spread(NODE_CPU, OTHER_CPU)
        paths = [socket_path(ROOM, f"viewer-{n}") for n in range(args.joins)]
        used_s = cpu_s(served.node)
        took_s = uvloop.run(_join_all(served, paths))
        used_s = cpu_s(served.node) - used_s
    report.table(
        f"joins: {args.joins} different people, 100 at a time",
        {
            "joins": f"{args.joins / took_s:.0f} per s",
            "node CPU per join": f"{used_s / args.joins * 1e6:.0f} us",
        },
    )


async def _join_all(served: Served, paths: list[str]) -> float:
    door, address = asyncio.Semaphore(100), Api(served.url, SERVICE_KEY).address
    sockets: list[Socket] = []

    async def enter(path: str) -> None:
        async with door:
            welcomed = asyncio.Event()
            sockets.append(await Socket.connect(address, path, lambda _frame: welcomed.set()))
            await asyncio.wait_for(welcomed.wait(), 30)

    began = time.perf_counter()
    await asyncio.gather(*(enter(path) for path in paths))
    took_s = time.perf_counter() - began
    for socket in sockets:
        socket.abort()
    return took_s


_BENCHES = {
    "fanout": _fanout,
    "spend": money.spend,
    "drain": money.drain,
    "gifts": _gifts,
    "memory": _memory,
    "joins": _joins,
}
