"""Joins, by themselves and as a storm: many come, or come back at once after their node has died."""

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
STORM_AT_A_TIME = 2_000  # what a listening socket holds
STORM_EVENTS = 500  # said before the node dies; everybody has missed another part of them
WAIT_S = 60.0


class _Told(Struct):
    """All that a newcomer looks at."""

    type: str
    resumed: bool = False
    epoch: str = ""
    seq: int = 0
    replayed: bool = False


_TOLD = msgspec.json.Decoder(list[_Told])


class Visitor:
    """Comes in and stays; `welcome` is what it was told first, `replayed` how many missed events came after it."""

    def __init__(self) -> None:
        self.welcome: asyncio.Future[_Told] = asyncio.get_running_loop().create_future()
        self.replayed = 0
        self._socket: Socket

    async def come(self, address: Address, path: str) -> None:
        self._socket = await Socket.connect(address, path, self._hear)
        async with asyncio.timeout(WAIT_S):
            await self.welcome

    def leave(self) -> None:
        self._socket.abort()

    def _hear(self, frame: Frame) -> None:
        for told in _TOLD.decode(frame):
            if told.type == "welcome":
                self.welcome.set_result(told)
            self.replayed += told.replayed


async def come_all(address: Address, paths: list[str], at_a_time: int) -> list[Visitor]:
    """Everybody, so many at a time, until each has its welcome."""
    door, visitors = asyncio.Semaphore(at_a_time), list[Visitor]()

    async def enter(path: str) -> None:
        async with door:
            visitors.append(visitor := Visitor())
            await visitor.come(address, path)

    await asyncio.gather(*(enter(path) for path in paths))
    return visitors


def joins(args: argparse.Namespace) -> None:
    """People who come and stay, 100 at a time, until the welcome has come."""
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
    """The node is killed; everybody comes back at once, each from another place in what was said."""
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
            "missed events told again": f"{replayed}, at least {missed} were missed",
            "reads of the history": f"{reads}  (target 1 per room and node)",
            "node CPU per return": f"{used_s / args.joins * 1e6:.0f} us",
        },
    )


async def _talk(address: Address) -> tuple[str, int, int]:
    """Say what will have been missed: the room's epoch, and its seq before and after."""
    early, oks, newest = Visitor(), asyncio.Semaphore(0), 0

    def hear(frame: Frame) -> None:
        nonlocal newest
        for told in _TOLD.decode(frame):
            newest = max(newest, told.seq)
            if told.type == "ok":
                oks.release()

    await early.come(address, socket_path(ROOM, "early", "bot"))
    welcome = early.welcome.result()
    speaker = await Socket.connect(address, socket_path(ROOM, "speaker", "bot"), hear)
    async with asyncio.timeout(WAIT_S):
        for n in range(STORM_EVENTS):
            speaker.send(f'{{"type":"chat.send","ref":"{n}","text":"said before the storm, number {n}"}}')
            await oks.acquire()
        while newest < welcome.seq + STORM_EVENTS:
            await asyncio.sleep(0.01)
    early.leave()
    speaker.abort()
    return welcome.epoch, welcome.seq, newest


def _history_reads(room_store: str) -> int:
    """How often the room store was asked for a room's history (INFO commandstats)."""
    reader = hiredis.Reader()
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as asked:
        asked.connect(room_store)
        asked.sendall(b"INFO commandstats\r\n")
        while (answer := reader.gets()) is False:
            reader.feed(asked.recv(65536))
    counted = [line for line in answer.decode().splitlines() if line.startswith("cmdstat_xrange:")]
    return sum(int(line.partition("calls=")[2].partition(",")[0]) for line in counted)
