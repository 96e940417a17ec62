"""One process of a crowd, on one event loop: it runs its viewers and their acts, and writes its account at the end.

`python -m loadtest.worker JOB ACCOUNT`: both are files, because they are large. It prints a line of JSON each second.
"""

import asyncio
import gc
import resource
import sys
import time
from pathlib import Path
from random import Random

import msgspec
import uvloop
from msgspec import Struct

from loadtest import acts, hostile
from loadtest.acts import Act
from loadtest.hearing import Hall, Item, mark
from loadtest.recorder import Recorder
from loadtest.scenarios import Plan
from loadtest.viewer import RETRIED, RETRY_S, Counts, Sent, Viewer
from loadtest.wire import Address
from protocol.ids import uuid7
from protocol.wire import Codec

SETTLE_S = 30.0
WRONG_MAX = 1_000
ACTS_AT_ONCE = 200  # then other tasks of the loop get their turn
CODECS: tuple[Codec, Codec] = ("json", "msgpack")


class Guest(Struct, frozen=True):
    """A member of the crowd."""

    number: int
    user: str
    room: str
    token: str
    gives: bool = False
    slow: bool = False


class Gift(Struct, frozen=True):
    """A gift of the catalogue."""

    id: str
    coins: int
    streakable: bool = False


class Job(Struct, frozen=True, kw_only=True):
    """What a process has to do."""

    plan: Plan
    process: int
    url: str
    start_ms: int
    guests: list[Guest]
    hostile: list[Guest]
    gifts: list[Gift]
    gift_share: float


class Line(Struct, frozen=True, kw_only=True):
    """Its report of one second. `counts` are since the start."""

    process: int
    second: int
    phase: str
    open: int
    counts: dict[str, int]
    latencies: dict[str, str]
    wrong: list[str]


class Paid(Struct, frozen=True):
    """A gift that was sent. If it is not `acked`, its outcome is unknown."""

    id: str
    user: str
    room: str
    coins: int
    acked: bool


class Heard(Struct, frozen=True):
    """What one viewer received in one stretch (viewer.Stretch)."""

    number: int
    room: str
    epoch: str
    start: int
    seq: int
    gifts: int
    coins: int
    hidden: int
    missing: list[tuple[int, int]]


class Told(Struct, frozen=True):
    """What a room sent in one epoch: a hash of each event by seq, and each gift's seq and coins (hearing.Log)."""

    room: str
    epoch: str
    prints: dict[int, int]
    gifts: dict[str, tuple[int, int]]


class Account(Struct, frozen=True, kw_only=True):
    """What a process reports at the end."""

    told: list[Told]
    heard: list[Heard]
    gifts: list[Paid]
    counts: dict[str, int]
    wrong: list[str]
    cpu_s: float


class Crowd:
    """The viewers of this process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.counts, self.recorder, self.wrong = Counts(), Recorder(), list[str]()
        self.halls = {room: Hall(room, self.recorder) for room in {guest.room for guest in job.guests}}
        self.gifts: dict[str, Paid] = {}
        self.attacks = 0  # made by hostile guests
        self.phase = "joining"
        self._chance = Random(f"{job.plan.seed} {job.process} people")
        address = Address.of(job.url)
        self.viewers = [self._viewer(guest, address) for guest in job.guests]
        self._speakers = [viewer for viewer in self.viewers if not viewer.slow]
        self._givers = [v for v, guest in zip(self.viewers, job.guests, strict=True) if guest.gives and not v.slow]
        self._user = {guest.number: guest.user for guest in job.guests}
        self._away: set[asyncio.Task[None]] = set()
        self._reported_wrong = 0

    def _viewer(self, guest: Guest, address: Address) -> Viewer:
        return Viewer(
            guest.number,
            self.halls[guest.room],
            self.counts,
            address,
            f"/v1/rooms/{guest.room}/ws?token={guest.token}",
            CODECS[guest.number % 2],
            chance=self._chance,
            answered=self._answered,
            wrong=self._is_wrong,
            slow=guest.slow,
        )

    def _is_wrong(self, sentence: str) -> None:
        if len(self.wrong) < WRONG_MAX:
            self.wrong.append(sentence)

    # --- the run -----------------------------------------------------------------------------------------------
    async def run(self) -> None:
        plan = self.job.plan
        todo = acts.make(plan, self.job.process, self.job.gift_share)
        await asyncio.sleep(max(0.0, self.job.start_ms / 1000 - time.time()))
        reporting = asyncio.create_task(self._report_seconds())
        joining = asyncio.create_task(self._join())
        guests = [hostile.Guest(self.job.url, guest.room, guest.token) for guest in self.job.hostile]
        breaking = [asyncio.create_task(hostile.keep_breaking(each, self._chance, self._hostile)) for each in guests]
        if not plan.drift:
            await joining
        gc.freeze()  # as the server does: everything here lives until the end
        await self._act(todo)
        for task in breaking:
            task.cancel()
        await asyncio.gather(joining, *breaking, return_exceptions=True)
        self.phase = "settling"
        await self._settle()
        self.phase = "leaving"
        await asyncio.gather(*(viewer.go() for viewer in self.viewers), *self._away)
        reporting.cancel()
        await asyncio.gather(reporting, return_exceptions=True)
        self._report(int(time.time() - self.job.start_ms / 1000) + 1)

    async def _join(self) -> None:
        ramp_s, began = self.job.plan.ramp_s, time.perf_counter()
        for number, viewer in enumerate(self.viewers):
            due = began + ramp_s * number / len(self.viewers)
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            viewer.come()
        async with asyncio.timeout(SETTLE_S):
            while not all(viewer.open for viewer in self.viewers):
                await asyncio.sleep(0.05)

    async def _act(self, todo: list[Act]) -> None:
        plan, began_ns = self.job.plan, time.time_ns()
        begins = acts.starts(plan)
        for number, act in enumerate(todo):
            due_ns = began_ns + int(act.at_s * 1e9)
            while (early_s := (due_ns - time.time_ns()) / 1e9) > 0:
                await asyncio.sleep(early_s)
            if number % ACTS_AT_ONCE == 0:
                await asyncio.sleep(0)
            self.phase = plan.phases[sum(begin <= act.at_s for begin in begins) - 1].name
            self._do(act, due_ns)
        while (left_s := plan.seconds - (time.time_ns() - began_ns) / 1e9) > 0:
            await asyncio.sleep(min(left_s, 1.0))

    def _do(self, act: Act, due_ns: int) -> None:
        match act.kind:
            case "chat":
                self.counts.chats += 1
                body: dict[str, object] = {"text": f"{mark(due_ns)} said by {act.who % 1000} of the crowd"}
                self._speakers[act.who % len(self._speakers)].send(Sent("chat.send", "", body, due_ns))
            case "like":
                self.counts.likes += 1
                sent = Sent("likes.send", "", {"count": act.count}, due_ns)
                self._speakers[act.who % len(self._speakers)].send(sent)
            case "gift":
                self._give(act, due_ns)
            case "wave":
                for viewer in self._speakers:
                    if self._chance.randrange(1_000_000) < act.what:
                        viewer.drop()
            case "churn":
                task = asyncio.create_task(self._leave_for_a_while(self._speakers[act.who % len(self._speakers)]))
                self._away.add(task)
                task.add_done_callback(self._away.discard)

    def _give(self, act: Act, due_ns: int) -> None:
        giver = self._givers[act.who % len(self._givers)]
        gift = self.job.gifts[min(act.what, len(self.job.gifts) - 1)]
        id_ = uuid7(time.time_ns() // 1_000_000)
        count = act.count if gift.streakable else 1
        body: dict[str, object] = {"id": id_, "gift": gift.id, "count": count, "message": mark(due_ns)}
        if act.streak and gift.streakable:
            body["combo"] = f"{self.job.process}-{act.streak}"
        if giver.send(Sent("gifts.send", "", body, due_ns, id_)):
            self.counts.gifts += 1
            coins = gift.coins * count
            self.gifts[id_] = Paid(id_, self._user[giver.number], giver.hall.room, coins, False)

    async def _leave_for_a_while(self, viewer: Viewer) -> None:
        """The viewer leaves and returns, unless it waits for a reply."""
        if viewer.unanswered or not viewer.open:
            return
        await viewer.go()
        await asyncio.sleep(self._chance.expovariate(0.5))
        if self.phase != "leaving":
            viewer.come()

    # --- replies -----------------------------------------------------------------------------------------------
    def _answered(self, viewer: Viewer, sent: Sent, item: Item) -> None:
        if item.type == "ok":
            self.recorder.record("command to reply", time.time_ns() - sent.due_ns)
            if sent.gift_id:
                self.counts.acked_gifts += 1
                self.gifts[sent.gift_id] = msgspec.structs.replace(self.gifts[sent.gift_id], acked=True)
            return
        if sent.gift_id and item.reason in RETRIED:
            sent.ref = ""
            delay_s = (item.retry_after_ms or RETRY_S * 1000) / 1000
            asyncio.get_running_loop().call_later(delay_s, viewer.send, sent)
        elif sent.gift_id:
            del self.gifts[sent.gift_id]  # refused for good: it must not be shown

    def _hostile(self, wrong: str | None) -> None:
        self.attacks += 1
        if wrong:
            self._is_wrong(wrong)

    # --- the end -----------------------------------------------------------------------------------------------
    async def _settle(self) -> None:
        """Wait until every gift is answered and shown, and all viewers who read have received the same events."""
        until = time.perf_counter() + SETTLE_S
        while time.perf_counter() < until:
            newest = {hall.room: self._newest(hall) for hall in self.halls.values()}
            heard = all(v.open and not v.unanswered and v.seq >= newest[v.hall.room] for v in self._speakers)
            if heard and not self._away and self._all_shown():
                return
            await asyncio.sleep(0.05)
        late = [viewer for viewer in self._speakers if viewer.unanswered or not viewer.open]
        if late:
            self._is_wrong(
                f"{len(late)} viewers were away or without an answer at the end, {late[0].number} among them"
            )

    def _all_shown(self) -> bool:
        shown = {room: [log.gifts for log in hall.logs.values()] for room, hall in self.halls.items()}
        return all(any(paid.id in gifts for gifts in shown[paid.room]) for paid in self.gifts.values() if paid.acked)

    def _newest(self, hall: Hall) -> tuple[str, int]:
        """The epoch and seq that every viewer of the hall must reach."""
        at = [viewer.seq for viewer in self._speakers if viewer.hall is hall]
        epoch = max(at, key=lambda each: each[1])[0] if at else ""
        return epoch, max((seq for e, seq in at if e == epoch), default=0)

    async def _report_seconds(self) -> None:
        second = 0
        while True:
            second += 1
            await asyncio.sleep(max(0.0, self.job.start_ms / 1000 + second - time.time()))
            self._report(second)

    def _report(self, second: int) -> None:
        for hall in self.halls.values():
            hall.turn()
        wrong, self._reported_wrong = self.wrong[self._reported_wrong :], len(self.wrong)
        line = Line(
            process=self.job.process,
            second=second,
            phase=self.phase,
            open=sum(viewer.open for viewer in self.viewers),
            counts=self._flat(),
            latencies=self.recorder.take(),
            wrong=wrong[:10],
        )
        sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
        sys.stdout.buffer.flush()

    def _flat(self) -> dict[str, int]:
        counts = msgspec.structs.asdict(self.counts)
        replies, closes = counts.pop("replies"), counts.pop("closes")
        return {
            **counts,
            **{f"reply {name}": number for name, number in replies.items()},
            **{f"closed {name}": number for name, number in closes.items()},
            "attacks": self.attacks,
        }

    def account(self) -> Account:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return Account(
            told=[
                Told(hall.room, epoch, log.prints, log.gifts)
                for hall in self.halls.values()
                for epoch, log in hall.logs.items()
                if log.prints
            ],
            heard=[
                Heard(v.number, v.hall.room, s.epoch, s.start, s.seq, s.gifts, s.coins, s.hidden, s.missing)
                for v in self._speakers
                for s in v.stretches
            ],
            gifts=list(self.gifts.values()),
            counts=self._flat(),
            wrong=[*self.wrong, *(w for hall in self.halls.values() for log in hall.logs.values() for w in log.wrong)],
            cpu_s=used.ru_utime + used.ru_stime,
        )


async def _run(job: Job) -> Account:
    crowd = Crowd(job)
    await crowd.run()
    return crowd.account()


def main() -> int:
    job_file, account_file = map(Path, sys.argv[1:])
    job = msgspec.msgpack.decode(job_file.read_bytes(), type=Job)
    account_file.write_bytes(msgspec.msgpack.encode(uvloop.run(_run(job))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
