"""Join benchmarks: many people join, or all come back at once after their node was killed."""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import time

import hiredis
import msgspec
import uvloop
from msgspec import Struct

from loadtest import report
from loadtest.api import Api
from loadtest.processes import NODE_CPU, OTHER_CPU, SERVICE_KEY, Served, cpu_s, pin, socket_path
from loadtest.wire import Address, Socket
from protocol.client import Frame

ROOM = "bench"
AT_A_TIME = 100
STORM_AT_A_TIME = 2_000  # as many as a listening socket queues
STORM_EVENTS = 500  # sent before the node is killed; each person has missed a different part of them
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
    """Kill the node. Everybody comes back at once, each from a different place in the history."""
    pin(os.getpid(), OTHER_CPU)
    with Served(args.folder) as served:
        api = Api(served.url, SERVICE_KEY)
        api.open_room(ROOM)
        epoch, first, last = uvloop.run(_talk(api.address))
        os.kill(served.node, signal.SIGKILL)
        served.until_ready()
        served.spread(NODE_CPU, OTHER_CPU)
        places = [first + n * (last - first) // args.joins for n in range(args.joins)]
        paths = [f"{socket_path(ROOM, f'viewer-{n}')}&since={epoch}:{place}" for n, place in enumerate(places)]
        reads, used_s, began = _history_reads(served.room_store), cpu_s(served.node), time.perf_counter()
        visitors = uvloop.run(come_all(api.address, paths, STORM_AT_A_TIME))
        took_s, used_s = time.perf_counter() - began, cpu_s(served.node) - used_s
        reads = _history_reads(served.room_store) - reads
    resumed = sum(visitor.welcome.result().resumed for visitor in visitors)
    replayed, missed = sum(visitor.replayed for visitor in visitors), sum(last - place for place in places)
    report.table(
        f"a storm: {args.joins} people come back at once after their node was killed",
        {
            "all are back after": f"{took_s:.1f} s, {args.joins / took_s:.0f} per s",
            "resumed": f"{resumed} of {args.joins}",
            "missed events replayed": f"{replayed}, at least {missed} were missed",
            "reads of the history": f"{reads}  (target 1 per room and node)",
            "node CPU per return": f"{used_s / args.joins * 1e6:.0f} us",
        },
    )


async def _talk(address: Address) -> tuple[str, int, int]:
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
        for n in range(STORM_EVENTS):
            speaker.send(f'{{"type":"chat.send","ref":"{n}","text":"sent before the storm, number {n}"}}')
            await oks.acquire()
        while newest < welcome.seq + STORM_EVENTS:
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
