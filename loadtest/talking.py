"""Chat benchmarks: what a message costs the node when few people listen, and a room that gets twice its limit."""

import argparse
import asyncio
import contextlib
import os
import random
import string
import time

import uvloop
from msgspec import Struct

from loadtest import report
from loadtest.api import Api
from loadtest.processes import NODE_CPU, OTHER_CPU, SERVICE_KEY, Served, cpu_s, pin, socket_path
from loadtest.wire import Address, Socket
from protocol.client import Answered, Frame, RoomClient

ROOM = "bench"
TALKERS = 2  # each hears both: more listeners would cost more than the messages
PER_TALKER_S = 250  # messages per bot: a socket with 64 commands that wait for the store is refused
SETTLE_S = 1.0
ANSWERS_S = 5.0


class Talker:
    """A bot that chats, and counts what became of it."""

    def __init__(self) -> None:
        self._room = RoomClient(lambda: time.time_ns() // 1_000_000)
        self._socket: Socket
        self.told: asyncio.Event = asyncio.Event()
        self.sent = self.refused = 0

    @classmethod
    async def come(cls, address: Address, number: int) -> "Talker":
        made = cls()
        made._socket = await Socket.connect(address, socket_path(ROOM, f"bot-{number}", "bot"), made._hear)
        return made

    def say(self, text: str) -> None:
        self._socket.send(self._room.chat(text))
        self.sent += 1

    @property
    def waits(self) -> bool:
        return bool(self._room.unanswered)

    def leave(self) -> None:
        self._socket.abort()

    def _hear(self, frame: Frame) -> None:
        self.refused += sum(isinstance(each, Answered) and not each.ok for each in self._room.receive(frame))
        self.told.set()


class Cost(Struct, frozen=True):
    """What some chats cost."""

    sent: int
    refused: int
    node_us: float  # of CPU per chat
    store_us: float


def chats(args: argparse.Namespace) -> None:
    """CPU of the node and of the room store per chat message, with a handful of listeners."""
    for per_s in args.chats_per_s:
        cost = measure(args, per_s)
        report.table(
            f"chats: {per_s:g}/s to {args.talkers} people who talk, {args.seconds:g} s",
            {
                "sent, refused": f"{cost.sent}, {cost.refused}",
                "node CPU per chat": f"{cost.node_us:.0f} us",
                "room store CPU per chat": f"{cost.store_us:.0f} us",
            },
        )


def measure(args: argparse.Namespace, per_s: float) -> Cost:
    """The cost of so many chats per second, on a server of their own."""
    pin(os.getpid(), OTHER_CPU)
    with Served(args.folder) as served:
        api = Api(served.url, SERVICE_KEY)
        api.open_room(ROOM)
        if args.rules:
            _rule(api)
        served.spread(NODE_CPU, OTHER_CPU)
        return uvloop.run(talk(served, api.address, args, per_s))


def _rule(api: Api) -> None:
    """Rules that look at every text: 10,000 phrases of the site, 1,000 of the host, 500 of the room; no links."""
    chance = random.Random(1)
    phrases = ["".join(chance.choices(string.ascii_lowercase, k=chance.randint(4, 12))) for _ in range(11_500)]
    for first in range(0, 10_000, 1_000):
        api.call("PATCH", "/v1/words", {"add": {"blocked": phrases[first : first + 1_000]}})
    api.call("PUT", "/v1/hosts/creator/words", {"phrases": {"blocked": phrases[10_000:11_000]}})
    api.call("PATCH", f"/v1/rooms/{ROOM}", {"settings": {"links": False, "blocked_words": phrases[11_000:]}})


async def talk(served: Served, address: Address, args: argparse.Namespace, per_s: float) -> Cost:
    """What so many chats per second cost, said in turn by the talkers."""
    talkers = [await Talker.come(address, number) for number in range(args.talkers)]
    await _say(talkers, per_s, SETTLE_S)
    node, store = served.node, served.pid_of("room.sock")
    before, node_s, store_s = sum(each.sent for each in talkers), cpu_s(node), cpu_s(store)
    await _say(talkers, per_s, args.seconds, before)
    node_s, store_s = cpu_s(node) - node_s, cpu_s(store) - store_s
    sent = sum(each.sent for each in talkers) - before
    for each in talkers:
        each.leave()
    return Cost(sent, sum(each.refused for each in talkers), node_s / sent * 1e6, store_s / sent * 1e6)


async def _say(talkers: list[Talker], per_s: float, seconds: float, first: int = 0) -> None:
    """Talk in turn at chance times, the same in each run, from the `first` on, then wait for the answers."""
    chance, due_s, sent, began = random.Random(1), 0.0, first, time.perf_counter()
    while due_s < seconds:
        await asyncio.sleep(began + due_s - time.perf_counter())
        while due_s <= time.perf_counter() - began:
            talkers[sent % len(talkers)].say(f"a message of the usual length, as people write it {sent}")
            sent += 1
            due_s += chance.expovariate(per_s)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ANSWERS_S):
            for each in talkers:
                while each.waits:
                    each.told.clear()
                    await each.told.wait()
