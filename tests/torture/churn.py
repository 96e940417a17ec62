"""People who come, talk, give and leave, all the time, and the node that they come to, which says what it holds."""

import asyncio
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from msgspec import Struct

from loadtest.wire import Address, Socket
from protocol.client import Answered, Frame, RoomClient
from protocol.closes import Close
from protocol.gifts import SendGift
from server.settings import Settings
from server.tokens import Tokens
from tests.conftest import Stores
from tests.site import NO_TLS, WAIT_S
from tests.stores import settings

ROOT = Path(__file__).parents[2]
ROOMS = ("demo", "hall")
GIVERS = 10
AT_ONCE = 40  # people in a round
GIVES = 0.3  # part of them
HOST = {"user_id": "creator", "name": "Creator"}


class Held(Struct, frozen=True):
    """What a node holds: things by name, objects by type, and its memory."""

    things: dict[str, int]
    kinds: Counter[str]
    rss_kib: int

    def more_than(self, before: "Held") -> dict[str, int]:
        """The things that are more than before."""
        return {name: more for name, n in self.things.items() if (more := n - before.things[name]) > 0}

    def piled_up(self, before: "Held", least: int) -> dict[str, int]:
        """The types of which there are `least` objects more than before."""
        return {kind: more for kind, n in self.kinds.items() if (more := n - before.kinds[kind]) >= least}


class ChurnedNode:
    """tests/torture/churned.py, as a process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, of: Settings) -> None:
        self._process = process
        self.of = of
        self.url = f"http://127.0.0.1:{port}"

    async def held(self) -> Held:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"?\n")
        async with asyncio.timeout(WAIT_S):
            said = json.loads(await self._process.stdout.readline())
        return Held(said["things"], Counter(said["kinds"]), said["rss_kib"])

    async def settled(self, ready: Callable[[Held], bool]) -> Held:
        """What it holds as soon as that is `ready`, or else after WAIT_S: the test then says what is wrong."""
        deadline = time.monotonic() + WAIT_S
        while not ready(held := await self.held()) and time.monotonic() < deadline:
            pass  # asking takes its time
        return held


@asynccontextmanager
async def churned_node(folder: Path, stores: Stores, journal: str) -> AsyncIterator[ChurnedNode]:
    addresses = (f"unix://{stores.wallet.socket}", f"unix://{stores.room.socket}", journal)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.torture.churned", str(folder), *addresses),
        stdin=pipe,
        stdout=pipe,
        cwd=ROOT,
        limit=1 << 20,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(3 * WAIT_S):
            port = int(await process.stdout.readline())
        yield ChurnedNode(process, port, settings(folder))
        process.stdin.close()
        async with asyncio.timeout(WAIT_S):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Person:
    """One person in one room."""

    def __init__(self, address: Address, path: str) -> None:
        self._address, self._path = address, path
        self.client = RoomClient(lambda: time.time_ns() // 1_000_000)
        self.given = 0
        self._news = asyncio.Event()
        self._socket: Socket

    async def come(self) -> None:
        """Be welcomed, with what was missed if this is not the first time."""
        self.client.you = None
        query = self.client.resume_query()
        self._socket = await Socket.connect(self._address, f"{self._path}&{query}" if query else self._path, self._hear)
        await self._until(lambda: self.client.you is not None)

    def _hear(self, frame: Frame) -> None:
        for each in self.client.receive(frame):
            self.given += isinstance(each, Answered) and isinstance(each.command, SendGift) and each.ok
        self._news.set()

    async def _until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not done():
                self._news.clear()
                await self._news.wait()

    async def speak(self, *, gives: bool) -> None:
        """Say something, and wait for every answer."""
        for frame in (self.client.chat("hello, all of you"), self.client.likes(3)):
            self._socket.send(frame)
        if gives:
            self._socket.send(self.client.gift("rose"))
        await self._until(lambda: not self.client.unanswered)

    async def leave(self, *, politely: bool) -> None:
        if politely:
            self._socket.close()
            await self.sent_away()
        else:
            self._socket.abort()
        self.client.lost()

    async def sent_away(self) -> int:
        """Wait until the socket is closed. Returns the code."""
        async with asyncio.timeout(WAIT_S):
            return await self._socket.closed


class Crowd:
    """All but the givers come once, under new names. Every round has a room of its own, which is then deleted."""

    def __init__(self, node: ChurnedNode) -> None:
        key = {"Authorization": f"Bearer {node.of.service_key}"}
        self._http = httpx.AsyncClient(base_url=node.url, headers=key, verify=NO_TLS)
        self._address = Address.of(node.url)
        self._tokens = Tokens(node.of.token_secret)
        self._chance = random.Random(1)
        self._numbers = itertools.count()
        self.joins = self.given = 0

    async def __aenter__(self) -> "Crowd":
        for room in ROOMS:
            await self._open(room)
        for giver in range(GIVERS):
            body = {"id": f"t-{giver}", "coins": 10_000_000, "source": "test"}
            (await self._http.post(f"/v1/wallets/giver-{giver}/topups", json=body)).raise_for_status()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._http.aclose()

    async def _open(self, room: str) -> None:
        (await self._http.put(f"/v1/rooms/{room}", json={"host": HOST, "title": room})).raise_for_status()
        (await self._http.post(f"/v1/rooms/{room}/start")).raise_for_status()

    def person(self, user: str, room: str) -> Person:
        token = self._tokens.sign(sub=user, name=user, role="viewer", exp_s=time.time() + 600)
        return Person(self._address, f"/v1/rooms/{room}/ws?token={token}")

    async def churn(self, seconds: float) -> None:
        """Round after round, at least one."""
        until = time.monotonic() + seconds
        while True:
            await self._round(f"for-now-{next(self._numbers)}")
            if time.monotonic() >= until:
                return

    async def _round(self, room: str) -> None:
        await self._open(room)
        stays = self.person("stays", room)
        await stays.come()
        await asyncio.gather(*(self._live(self._chance.choice((*ROOMS, room))) for _ in range(AT_ONCE)))
        (await self._http.delete(f"/v1/rooms/{room}")).raise_for_status()
        assert await stays.sent_away() == Close.NO_SUCH_ROOM

    async def _live(self, room: str) -> None:
        """Come, speak, leave one way or the other, and perhaps come back to where one was."""
        number, gives = next(self._numbers), self._chance.random() < GIVES
        person = self.person(f"giver-{number % GIVERS}" if gives else f"person-{number}", room)
        for _ in range(self._chance.choice((1, 1, 2))):
            await person.come()
            await person.speak(gives=gives)
            await person.leave(politely=self._chance.random() < 0.5)
            self.joins += 1
        self.given += person.given
