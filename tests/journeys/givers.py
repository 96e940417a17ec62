"""People who send gifts while things break, and record what was answered and what must be sent again."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import redis

from server.store import keys
from tests.journeys.talk import WAIT_S, ask_together, connected
from tests.program import Program, eventually
from tests.site import Viewer, new_gift_id

ROOM_RESTARTS = 4008
TOGETHER = 16  # gifts of one giver under way at once


class Giver:
    """One person with coins, whose gifts are each one rose: one coin."""

    def __init__(self, program: Program, user: str, room: str, coins: int = 1_000) -> None:
        self.program = program
        self.user = user
        self.room = room
        self.start = coins
        self.sent: list[str] = []
        self.acked: dict[str, dict[str, Any]] = {}
        self.refused: Counter[str] = Counter()
        self.viewer: Viewer | None = None
        self._tries = 0

    async def join(self) -> None:
        """Open a new socket; the balance must be right."""
        self.viewer = await self.program.join(self.user, "bot", room=self.room)

    @property
    def pending(self) -> list[str]:
        """What was sent and never answered with ok."""
        return [gift_id for gift_id in self.sent if gift_id not in self.acked]

    @property
    def connected(self) -> bool:
        return self.viewer is not None and connected(self.viewer)

    async def give(self, count: int) -> None:
        """Send this many new gifts, until the socket is lost."""
        for first in range(0, count, TOGETHER):
            if not self.connected:
                return
            ids = [new_gift_id() for _ in range(min(TOGETHER, count - first))]
            self.sent += ids
            await self._send(ids)

    async def give_again(self) -> None:
        """Send everything unanswered again, with the same ids, until all of it is answered."""
        async with asyncio.timeout(WAIT_S):
            while self.pending:
                if not self.connected:
                    await self.join()
                await self._send(self.pending[:TOGETHER])

    async def _send(self, ids: Sequence[str]) -> None:
        """Send, and wait until each has its reply or the socket is lost."""
        assert self.viewer is not None
        self._tries += 1
        refs = {f"try-{self._tries}-{n}": gift_id for n, gift_id in enumerate(ids)}
        frame = [{"type": "gifts.send", "ref": r, "id": i, "gift": "rose", "count": 1} for r, i in refs.items()]
        wait_ms = 0
        for ref, reply in (await ask_together(self.viewer, frame)).items():
            if reply["type"] == "ok":
                self.acked[refs[ref]] = reply
            else:
                assert reply["reason"] in ("wallet_unavailable", "rate_limited"), reply  # the second: too many commands
                self.refused[reply["reason"]] += 1
                wait_ms = max(wait_ms, reply["retry_after_ms"])
        await asyncio.sleep(wait_ms / 1000)  # as the replies ask; who does not wait is closed for a flood

    async def assert_paid_once(self) -> None:
        """Every gift was taken from the balance once, and its id still gets the first outcome."""
        assert not self.pending
        left = self.start - len(self.sent)
        assert await self.program.coins(self.user) == left
        assert sorted(reply["coins"] for reply in self.acked.values()) == list(range(left, self.start))
        if not self.connected:
            await self.join()
        assert self.viewer is not None
        told = self.viewer.welcome["you"]["coins"]
        if told is None:  # welcomed while the wallet store was away: it comes later, or with the first gift
            told = (await self.viewer.happened("wallet.changed"))["coins"]
        assert told >= left
        again = await self.viewer.gift("rose", id=self.sent[0])
        assert (again["duplicate"], again["coins"]) == (True, self.acked[self.sent[0]]["coins"])
        assert await self.program.coins(self.user) == left

    async def assert_journaled_once(self) -> None:
        """The journal has every gift of this giver once, and the sum of its entries is the balance."""
        entries = await self.program.journaled(self.user, set(self.sent))
        gifts = Counter(entry["ref"] for entry in entries if entry["kind"] == "gift")
        assert gifts == Counter(self.sent)
        assert sum(entry["coins"] for entry in entries) == self.start - len(self.sent)


async def givers(program: Program, room: str, count: int) -> list[Giver]:
    """This many people with a thousand coins each, in a room of their own."""
    await program.put_room(room)
    made = [Giver(program, f"{room}-{n}", room) for n in range(count)]
    for giver in made:
        await program.give_coins(giver.user, giver.start)
        await giver.join()
    return made


async def assert_shown_once(program: Program, room: str, gift_ids: Sequence[str]) -> None:
    """The room's history has each of these gifts once, its seqs are whole, and its total is their sum."""
    eye = await whole_history(program, room)
    await eye.until(lambda _: {event["id"] for event in eye.events("gifts.sent")} >= set(gift_ids), WAIT_S)
    await eventually(lambda: _rooms_were_told(program), what="the journal's look at what was shown")
    mark = (await (await program.join("mark", "bot", room=room)).ask("chat.send", text="mark"))["seq"]
    await eye.until(lambda _: eye.events()[-1]["seq"] >= mark, WAIT_S)
    events = eye.events()
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    gifts = [event for event in events if event["type"] == "gifts.sent"]
    assert Counter(event["id"] for event in gifts) == Counter(gift_ids)
    assert sum(event["coins"] for event in gifts) == (await program.get(f"/v1/rooms/{room}"))["coins"]


async def whole_history(program: Program, room: str) -> Viewer:
    """A listener who gets everything from the room's first event on."""
    async with asyncio.timeout(WAIT_S):
        while True:
            epoch = (await program.get(f"/v1/rooms/{room}"))["epoch"]
            eye = await program.join("eye", "overlay", room=room, since=f"{epoch}:0")
            if eye.welcome["epoch"] == epoch:
                assert (eye.welcome["resumed"], eye.welcome["gap"]) == (True, None)
                return eye
            assert await eye.closed(20) == ROOM_RESTARTS  # the node did not know yet that the room store was killed


def _rooms_were_told(program: Program) -> bool:
    """Whether the journal has checked every gift in the ledger log: later it shows none of them again."""
    with (
        redis.Redis(unix_socket_path=str(program.data / "wallet.sock"), decode_responses=True) as wallet,
        redis.Redis(unix_socket_path=str(program.data / "room.sock"), decode_responses=True) as room,
    ):
        for partition in range(len(keys.PARTITION_TAGS)):
            newest = wallet.xrevrange(keys.log(partition), count=1)
            if newest and room.get(keys.shown_watermark(partition)) != newest[0][0]:
                return False
    return True
