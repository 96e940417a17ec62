"""Trolls and moderators beside a crowd: who is banned, muted or hidden must not be seen after the decision."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from msgspec import Struct

from loadtest.results import Check
from loadtest.wire import Address, NotAdmitted, Socket
from protocol.client import Frame

VERBS = ("ban", "mute", "hide")
SPEAK_S = 0.4  # between two messages of a troll
LOOK_S = (0.5, 2.0)  # how long a moderator watches before deciding
REPLY_S = 10.0
BANNED = 403
WRONG_MAX = 20


class Person(Struct, frozen=True):
    """Somebody beside the crowd, and where they connect."""

    user: str
    path: str


class Decision(Struct):
    """What was decided about a troll. It holds from the seq `by` on, which the decider's next message had."""

    verb: str
    epoch: str
    by: int


class Seat:
    """One socket in the room: it hears whom the trolls are, and waits for replies."""

    def __init__(self, hear: Callable[["Seat", dict[str, Any]], None]) -> None:
        self.epoch = ""
        self.socket: Socket
        self.welcomed = asyncio.Event()
        self._hear, self._refs = hear, 0
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}

    @classmethod
    async def take(cls, address: Address, path: str, hear: Callable[["Seat", dict[str, Any]], None]) -> "Seat":
        """Connect, and wait for the welcome. Raises NotAdmitted, OSError, TimeoutError."""
        made = cls(hear)
        made.socket = await Socket.connect(address, path, made._take)
        async with asyncio.timeout(REPLY_S):
            await made.welcomed.wait()
        return made

    async def ask(self, type_: str, **fields: Any) -> dict[str, Any]:
        """Send a command, and wait for its reply. Raises TimeoutError, at once if the socket is closed."""
        self._refs += 1
        ref = str(self._refs)
        reply = self._waiting[ref] = asyncio.get_running_loop().create_future()
        self.socket.send(json.dumps({"type": type_, "ref": ref, **fields}))
        await asyncio.wait((reply, self.socket.closed), timeout=REPLY_S, return_when=asyncio.FIRST_COMPLETED)
        if not reply.done():
            raise TimeoutError
        answered: dict[str, Any] = reply.result()
        return answered

    def _take(self, frame: Frame) -> None:
        for message in json.loads(frame):
            if message["type"] == "welcome":
                self.epoch = message["epoch"]
                self.welcomed.set()
            elif message["type"] in ("ok", "refused"):
                reply = self._waiting.pop(message.get("ref") or "", None)
                if reply is not None and not reply.done():
                    reply.set_result(message)
            else:
                self._hear(self, message)


class Evening:
    """Trolls who do not stop, moderators who decide about them, and witnesses."""

    def __init__(self, url: str, trolls: list[Person], moderators: list[Person], witnesses: list[Person]) -> None:
        self.decisions: dict[str, Decision] = {}
        self.told: dict[str, tuple[str, int]] = {}  # of which troll an event said so: its epoch and seq
        self.seen: list[tuple[str, str, int]] = []  # user, epoch, seq
        self.wrong: list[str] = []
        self.shut_out = 0
        self._address = Address.of(url)
        self._trolls = {troll.user: troll for troll in trolls}
        self._moderators, self._witnesses = moderators, witnesses
        self._noticed: list[str] = []  # trolls that a moderator has seen, and nobody decides about yet
        self._known: set[str] = set()  # those, and those about whom somebody decides

    async def go_on(self, chance: Random, seconds: float) -> Check:
        """Play for so long. Returns the verdict."""
        parts: list[Awaitable[None]] = [self._watch(each) for each in self._witnesses]
        parts += [self._keep_order(each, Random(chance.random())) for each in self._moderators]
        parts += [self._disturb(each, Random(chance.random())) for each in self._trolls.values()]
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            await asyncio.wait(tasks, timeout=seconds)
            self.wrong += [repr(each.exception()) for each in tasks if each.done() and each.exception() is not None]
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self.verdict()

    def verdict(self) -> Check:
        """Nobody was seen after what was decided about them, and somebody was decided about."""
        wrong = list(self.wrong)
        for user, epoch, seq in self.seen:
            decided = self.decisions.get(user)
            if decided is None:
                continue
            since, by = self.told.get(user, (decided.epoch, decided.by))
            if epoch == since and seq > by:
                wrong.append(f"{user} was seen at seq {seq}, and {decided.verb} held from {by} on")
        if self._trolls and not self.decisions:
            wrong.append("no moderator has decided anything")
        found = f"{len(self.decisions)} decisions, {len(self.seen)} messages of trolls seen, {self.shut_out} shut out"
        return Check("moderation", found, wrong[:WRONG_MAX])

    # --- the parts ----------------------------------------------------------------------------------------------
    async def _watch(self, person: Person) -> None:
        def hear(seat: Seat, message: dict[str, Any]) -> None:
            if message["type"] == "chat.sent" and message["user"]["user_id"] in self._trolls:
                self.seen.append((message["user"]["user_id"], seat.epoch, message["seq"]))
            if message["type"] in ("members.banned", "members.muted"):
                self.told[message["user_id"]] = (seat.epoch, message["seq"])

        seat = await Seat.take(self._address, person.path, hear)
        await self._until_closed(seat)

    async def _keep_order(self, person: Person, chance: Random) -> None:
        def hear(_seat: Seat, message: dict[str, Any]) -> None:
            if message["type"] == "chat.sent" and "seq" in message:
                user = message["user"]["user_id"]
                if user in self._trolls and user not in self._known:
                    self._known.add(user)
                    self._noticed.append(user)

        seat = await Seat.take(self._address, person.path, hear)
        while True:
            await asyncio.sleep(chance.uniform(*LOOK_S))
            if self._noticed:
                await self._decide(seat, self._noticed.pop(0), chance.choice(VERBS))

    async def _decide(self, seat: Seat, user: str, verb: str) -> None:
        reply = await seat.ask(f"members.{verb}", user_id=user, reason="disturbs the evening")
        said = await seat.ask("chat.send", text=f"We {verb} {user}.")
        if reply["type"] == said["type"] == "ok":
            self.decisions[user] = Decision(verb, seat.epoch, said["seq"])
        else:
            self.wrong.append(f"members.{verb} of {user} was refused: {reply.get('reason') or said.get('reason')}")

    async def _disturb(self, person: Person, chance: Random) -> None:
        while True:
            try:
                seat = await Seat.take(self._address, person.path, lambda _seat, _message: None)
            except NotAdmitted as error:
                if error.status == BANNED:
                    self.shut_out += 1
                    return
                await asyncio.sleep(SPEAK_S)
                continue
            decided = self.decisions.get(person.user)
            if decided is not None and decided.verb == "ban":
                self.wrong.append(f"{person.user} was let in after the ban")
            await self._talk(seat, chance)

    async def _talk(self, seat: Seat, chance: Random) -> None:
        """Say what nobody wants to read, until the socket is closed."""
        number = 0
        while not seat.socket.closed.done():
            number += 1
            with contextlib.suppress(TimeoutError):
                await seat.ask("chat.send", text=f"noise {number} {chance.random()}")
            await asyncio.sleep(chance.uniform(0.5, 1.5) * SPEAK_S)

    async def _until_closed(self, seat: Seat) -> None:
        await seat.socket.closed
        self.wrong.append("a witness was closed")
