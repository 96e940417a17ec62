"""A crowd in one room: some chat, some give, and in the end all must have seen the same order and the same sums."""

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import uvloop
from msgspec import Struct

from loadtest import report
from loadtest.api import Api
from loadtest.person import Person
from loadtest.report import CONSOLE, Latency
from protocol.client import Answered
from protocol.gifts import SendGift
from protocol.wire import Codec

JOINING_AT_ONCE = 50
SETTLE_S = 20.0
COINS = 1_000_000
GIFTS = (("rose", 5), ("heart", 1), ("coffee", 2), ("balloon", 1))
RETRIED = ("wallet_unavailable", "unavailable", "rate_limited")


class Plan(Struct, frozen=True, kw_only=True):
    """What the crowd does."""

    url: str
    service_key: str
    viewers: int
    seconds: float
    chats_per_s: float
    gifts_per_s: float
    givers: int
    room: str | None
    seed: int


class Crowd:
    """The people, what they measured, and their account of the money."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.api = Api(plan.url, plan.service_key)
        self.room = plan.room or f"crowd-{secrets.token_hex(4)}"
        self.said, self.acked = Latency(), Latency()
        self.replies: dict[str, int] = {}
        self.paid: dict[str, int] = {}  # coins by gift id, of acknowledged gifts
        self.spent: dict[int, int] = {}  # coins by giver
        self.gift_coins: dict[str, int] = {}
        self.people: list[Person] = []
        self._random = random.Random(plan.seed)
        self._stays: list[asyncio.Task[None]] = []

    # --- before ------------------------------------------------------------------------------------------------
    def prepare(self) -> list[str]:
        """Room, tokens and coins; the socket paths."""
        self.gift_coins = {gift["id"]: gift["coins"] for gift in self.api.call("GET", "/v1/gifts")}
        if self.plan.room is None:
            self.api.open_room(self.room)
        self._name = secrets.token_hex(4)
        for number in range(self.plan.givers):
            self.api.top_up(self.user(number), COINS, f"{self._name}-{number}")
        tokens = [self.api.token(self.user(number), "viewer", self.room) for number in range(self.plan.viewers)]
        return [f"/v1/rooms/{self.room}/ws?token={token}" for token in tokens]

    def user(self, number: int) -> str:
        return f"crowd-{self._name}-{number}"

    async def join(self, paths: list[str]) -> None:
        """Everybody, some at a time, each second one in the other codec."""
        door = asyncio.Semaphore(JOINING_AT_ONCE)

        async def enter(person: Person) -> None:
            async with door:
                self._stays.append(asyncio.create_task(person.stay()))
                await asyncio.wait_for(person.welcomed(), SETTLE_S)

        codecs: tuple[Codec, Codec] = ("json", "msgpack")
        self.people = [
            Person(n, self.api.address, path, codecs[n % 2], said_ns=self.said.record_ns, answered=self._answered)
            for n, path in enumerate(paths)
        ]
        await asyncio.gather(*(enter(person) for person in self.people))

    # --- while it runs -----------------------------------------------------------------------------------------
    async def run(self) -> None:
        await asyncio.gather(
            self._at_rate(self.plan.chats_per_s, lambda: self._random.choice(self.people).say()),
            self._at_rate(self.plan.gifts_per_s, self._give),
        )

    async def _at_rate(self, per_s: float, act: Any) -> None:
        """Evenly, and what is late is made up for: the load does not ease when the server is slow."""
        began, done = time.perf_counter(), 0
        while per_s > 0 and (passed := time.perf_counter() - began) < self.plan.seconds:
            while done < passed * per_s:
                act()
                done += 1
            await asyncio.sleep(min(0.05, 1 / per_s))

    def _give(self) -> None:
        gift, count_max = self._random.choice(GIFTS)
        self.people[self._random.randrange(self.plan.givers)].give(gift, self._random.randint(1, count_max))

    def _answered(self, person: Person, answered: Answered, took_ns: int) -> None:
        reason = answered.reason or "ok"
        self.replies[reason] = self.replies.get(reason, 0) + 1
        command = answered.command
        if took_ns and answered.ok:
            self.acked.record_ns(took_ns)
        if not isinstance(command, SendGift):
            return
        if answered.ok and command.id not in self.paid:
            coins = self.gift_coins[command.gift] * command.count
            self.paid[command.id] = coins
            self.spent[person.number] = self.spent.get(person.number, 0) + coins
        elif answered.reason in RETRIED:
            delay_s = (answered.fields.get("retry_after_ms") or 100) / 1000
            asyncio.get_running_loop().call_later(delay_s, person.again, command)

    # --- after -------------------------------------------------------------------------------------------------
    async def settle(self) -> None:
        """Until every gift is answered and everybody has seen them all, or the time for it is over."""
        until = time.perf_counter() + SETTLE_S
        while time.perf_counter() < until:
            total = sum(self.paid.values())
            if not any(p.gifts_open for p in self.people) and all(p.client.gift_coins == total for p in self.people):
                return
            await asyncio.sleep(0.1)

    def leave(self) -> None:
        for person in self.people:
            person.leave()

    def check(self) -> list[str]:
        """What is not as it must be, in sentences."""
        wrong = self._check_order()
        total, gifts = sum(self.paid.values()), len(self.paid)
        for number, person in enumerate(self.people):
            client = person.client
            if self.plan.room is None and not client.missed and (client.gifts, client.gift_coins) != (gifts, total):
                seen = f"{client.gifts} gifts of {client.gift_coins} coins"
                wrong.append(f"viewer {number} saw {seen}; {gifts} of {total} were paid")
        for number in range(self.plan.givers):
            held, expected = self.api.coins(self.user(number)), COINS - self.spent.get(number, 0)
            if held != expected:
                wrong.append(f"giver {number} holds {held} coins and should hold {expected}")
        if self.plan.room is None:
            shown = self.api.call("GET", f"/v1/rooms/{self.room}")["coins"]
            if shown != total:
                wrong.append(f"the room says {shown} coins, {total} were paid")
        return wrong

    def _check_order(self) -> list[str]:
        """Each saw its events by rising seq, and one seq is one event for all."""
        wrong, event_of = self._check_losses(), dict[tuple[str, int], str]()
        for number, person in enumerate(self.people):
            last = ("", 0)
            for epoch, seq, id_, _ in person.seen:
                if epoch == last[0] and seq <= last[1]:
                    wrong.append(f"viewer {number} saw seq {seq} after {last[1]}")
                last = (epoch, seq)
                if event_of.setdefault((epoch, seq), id_) != id_:
                    wrong.append(f"viewer {number} saw another event as seq {seq}")
        return wrong

    def _check_losses(self) -> list[str]:
        """Whatever came between, each saw all, but for counts that were overtaken and what was told as hidden."""
        wrong = []
        all_seen = {(epoch, seq) for p in self.people for epoch, seq, _, latest in p.seen if not latest}
        for number, person in enumerate(self.people):
            if person.client.missed or not person.seen:
                continue
            seen = {(epoch, seq) for epoch, seq, *_ in person.seen}
            first, last = person.seen[0][:2], person.seen[-1][:2]
            lost = sum(first < at < last and at not in seen for at in all_seen if at[0] == first[0] == last[0])
            if lost > person.hidden:
                wrong.append(f"viewer {number} was not told {lost} events, only {person.hidden} as hidden")
        return wrong

    def tell(self, took_s: float, wrong: list[str]) -> None:
        people = self.people
        events = sum(len(person.seen) for person in people)
        rows: dict[str, object] = {
            "room": self.room,
            "viewers": f"{len(people)} ({sum(person.joins for person in people)} joins)",
            "events delivered": f"{events} ({events / took_s:.0f} per s)",
            "gifts paid": f"{len(self.paid)}, {sum(self.paid.values())} coins",
            "replies": _counts(self.replies),
            "chat, said to seen": self.said,
            "command to reply": self.acked,
            "hidden chats told": sum(person.hidden for person in people),
            "closed with": _counts(Counter(str(code) for person in people for code in person.closes)),
        }
        report.table(f"crowd of {len(people)} for {self.plan.seconds:g} s", rows)
        for sentence in wrong[:20]:
            CONSOLE.print(f"[red]WRONG[/red] {sentence}")
        CONSOLE.print("[red]order or sums are wrong[/red]" if wrong else "order and sums hold")


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(found.items())) or "none"


async def _run(plan: Plan) -> int:
    crowd = Crowd(plan)
    paths = await asyncio.to_thread(crowd.prepare)
    await crowd.join(paths)
    began = time.perf_counter()
    await crowd.run()
    took_s = time.perf_counter() - began
    await crowd.settle()
    crowd.leave()
    wrong = await asyncio.to_thread(crowd.check)
    crowd.tell(took_s, wrong)
    if plan.room is None:
        await asyncio.to_thread(crowd.api.end_room, crowd.room)
    crowd.api.close()
    return 1 if wrong else 0


def run(plan: Plan) -> int:
    """0 when order and sums hold."""
    report.describe_machine()
    return uvloop.run(_run(plan))
