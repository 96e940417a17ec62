"""Join benchmarks: many people join, or all come back at once after their node was killed."""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import tempfile
import time
from pathlib import Path

import hiredis
import msgspec
import uvloop
from msgspec import Struct

from loadtest import report, watch
from loadtest.api import Api
from loadtest.audience import Audience
from loadtest.delivery import Program, publish
from loadtest.processes import NODE_CPU, OTHER_CPU, SERVICE_KEY, Served, cpu_s, pin, rss_kib, socket_path
from loadtest.returning import Came, Crowd
from loadtest.wire import Address, Socket
from protocol.client import Frame

ROOM = "bench"
AT_A_TIME = 100
STORM_THERE = 500
STORM_CHATS_PER_S = 10.0
STORM_S_MAX = 90.0
STORM_WITHIN_S, STORM_LAG_MS = 15.0, 50.0
STORM_COUNTED = ("liveroom_replayed_bytes_total", "liveroom_replays_left_out_total")
SETTLE_S = 1.0
WAIT_S = 60.0


class _Message(Struct):
    """The fields of a message that a visitor reads."""

    type: str
    resumed: bool = False
    epoch: str = ""
    seq: int = 0
    replayed: bool = False


_DECODER = msgspec.json.Decoder(list[_Message])


class Visitor:
    """Joins and stays. `welcome` is its first message, `replayed` the number of missed events that followed."""

    def __init__(self) -> None:
        self.welcome: asyncio.Future[_Message] = asyncio.get_running_loop().create_future()
        self.replayed = 0
        self._socket: Socket

    async def come(self, address: Address, path: str) -> None:
        self._socket = await Socket.connect(address, path, self._hear)
        async with asyncio.timeout(WAIT_S):
            await self.welcome

    def leave(self) -> None:
        self._socket.abort()

    def _hear(self, frame: Frame) -> None:
        for message in _DECODER.decode(frame):
            if message.type == "welcome":
                self.welcome.set_result(message)
            self.replayed += message.replayed


async def come_all(address: Address, paths: list[str], at_a_time: int) -> list[Visitor]:
    """Let everybody join, `at_a_time` at once, and wait until each has its welcome."""
    door, visitors = asyncio.Semaphore(at_a_time), list[Visitor]()

    async def enter(path: str) -> None:
        async with door:
            visitors.append(visitor := Visitor())
            await visitor.come(address, path)

    await asyncio.gather(*(enter(path) for path in paths))
    return visitors


def joins(args: argparse.Namespace) -> None:
    """People join and stay, 100 at a time. A join ends with the welcome."""
    pin(os.getpid(), OTHER_CPU)
    with Served(args.folder) as served:
        api = Api(served.url, SERVICE_KEY)
        api.open_room(ROOM)
        served.spread(NODE_CPU, OTHER_CPU)
        paths = [socket_path(ROOM, f"viewer-{n}") for n in range(args.joins)]
        used_s, began = cpu_s(served.node), time.perf_counter()
        uvloop.run(come_all(api.address, paths, AT_A_TIME))
        took_s, used_s = time.perf_counter() - began, cpu_s(served.node) - used_s
    report.table(
        f"joins: {args.joins} different people, {AT_A_TIME} at a time",
        {
            "joins": f"{args.joins / took_s:.0f} per s  (target >= 2000)",
            "node CPU per join": f"{used_s / args.joins * 1e6:.0f} us",
        },
    )


# --- a storm -------------------------------------------------------------------------------------------------------
def storm(args: argparse.Namespace) -> None:
    """Kill the node. Some are back at once, and chat goes on; then the others come, each from another place."""
    pin(os.getpid(), OTHER_CPU)
    with Served(args.folder) as served, tempfile.TemporaryDirectory() as folder:
        api = Api(served.url, SERVICE_KEY)
        api.open_room(ROOM)
        epoch, first, last = uvloop.run(_talk(api.address, args.missed))
        os.kill(served.node, signal.SIGKILL)
        served.until_ready()
        served.spread(NODE_CPU, OTHER_CPU)
        places = [first + n * (last - first) // args.people for n in range(args.people)]
        paths = Path(folder) / "paths"
        paths.write_text("\n".join(f"{socket_path(ROOM, f'v-{n}')}&since={epoch}:{at}" for n, at in enumerate(places)))
        viewer, bot = socket_path(ROOM, "fan"), socket_path(ROOM, "bot", "bot")
        audience = Audience(served.url, viewer, STORM_THERE, STORM_S_MAX, cpu=OTHER_CPU, folder=Path(folder))
        crowd = Crowd(api.address, paths, args.rate, OTHER_CPU)
        audience.wait_ready()
        program = Program("liveroom", served.url, served.node, viewer, bot)
        before = _figures(served)
        came, rss, sent = uvloop.run(_watch(program, crowd))
        after, heard = _figures(served), audience.so_far()
        audience.end()
        crowd.end()
    more = {name: after.counts[name] - before.counts[name] for name in after.counts}
    rate = f"{args.rate:g} a second" if args.rate else "all at once"
    report.table(
        f"a storm: {args.people} people come back, {rate}, to {STORM_THERE} others, {STORM_CHATS_PER_S:g} chats/s",
        {
            "all have a welcome after": f"{came.within_s:.1f} s  (target <= {STORM_WITHIN_S:g} at 15000 and 3000/s)",
            "from when each was due": f"p50 {came.p50_ms:.0f} ms, p99 {came.p99_ms:.0f} ms",
            "welcomed": f"{came.welcomed} of {args.people}: {came.resumed} resumed, {came.gaps} with a gap",
            "loop lag": f"p99 <= {watch.p99_ms(before.lags, after.lags) or 0:g} ms  (target <= {STORM_LAG_MS:g})",
            "chat to the others": f"p50 {heard.p50_ms:.0f}, p99 {heard.p99_ms:.0f}, max {heard.max_ms:.0f} ms",
            "- delivered": f"{heard.messages} of {sent * STORM_THERE}, {heard.closed} closed",
            "replayed": f"{more['liveroom_replayed_bytes_total'] / 2**20:.0f} MiB, "
            f"{more['liveroom_replays_left_out_total']:.0f} left out",
            "answered with 503": f"{came.turned_away}, {came.broken} connections broke",
            "memory of the node": f"{before.rss / 1024:.1f} MiB before, {rss / 1024:.1f} at most",
            "reads of the history": f"{after.reads - before.reads}  (target 0: the room is open)",
            "node CPU per return": f"{(after.used_s - before.used_s) / args.people * 1e6:.0f} us, with the chat",
        },
    )


class _Figures(Struct, frozen=True):
    """What is read before and after a storm."""

    counts: dict[str, float]
    lags: dict[float, float]
    rss: int
    reads: int
    used_s: float


def _figures(served: Served) -> _Figures:
    counts = {name: watch.counter(served.url, name) for name in STORM_COUNTED}
    node = served.node
    return _Figures(counts, watch.lags(served.url), rss_kib(node), _history_reads(served.room_store), cpu_s(node))


async def _watch(program: Program, crowd: Crowd) -> tuple[Came, int, int]:
    """Let the crowd come while a bot chats. Returns what happened, the most memory of the node, and the chats sent."""
    over, rss = asyncio.Event(), 0
    chatting = asyncio.create_task(publish(program, STORM_CHATS_PER_S, STORM_S_MAX, over=over))
    await asyncio.sleep(SETTLE_S)
    crowd.come()
    while not crowd.all_in:
        rss = max(rss, rss_kib(program.node))
        await asyncio.sleep(0.1)
    over.set()
    sent = await chatting
    await asyncio.sleep(SETTLE_S)  # for the last tick
    return crowd.came(), rss, sent


async def _talk(address: Address, events: int) -> tuple[str, int, int]:
    """Send the messages that will be missed. Returns the room's epoch, and its seq before and after."""
    early, oks, newest = Visitor(), asyncio.Semaphore(0), 0

    def hear(frame: Frame) -> None:
        nonlocal newest
        for message in _DECODER.decode(frame):
            newest = max(newest, message.seq)
            if message.type == "ok":
                oks.release()

    await early.come(address, socket_path(ROOM, "early", "bot"))
    welcome = early.welcome.result()
    speaker = await Socket.connect(address, socket_path(ROOM, "speaker", "bot"), hear)
    async with asyncio.timeout(WAIT_S):
        for n in range(events):
            speaker.send(f'{{"type":"chat.send","ref":"{n}","text":"sent before the storm, number {n}"}}')
            await oks.acquire()
        while newest < welcome.seq + events:
            await asyncio.sleep(0.01)
    early.leave()
    speaker.abort()
    return welcome.epoch, welcome.seq, newest


def _history_reads(room_store: str) -> int:
    """How often the room store has read a room's history (XRANGE in INFO commandstats)."""
    reader = hiredis.Reader()
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as store:
        store.connect(room_store)
        store.sendall(b"INFO commandstats\r\n")
        while (answer := reader.gets()) is False:
            reader.feed(store.recv(65536))
    counted = [line for line in answer.decode().splitlines() if line.startswith("cmdstat_xrange:")]
    return sum(int(line.partition("calls=")[2].partition(",")[0]) for line in counted)
