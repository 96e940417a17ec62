"""Viewers of one room on two nodes talk, give, lose the room store and come back; then everything is checked."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import redis
import websockets

from protocol.closes import Close
from server.store import keys
from tests.site import WAIT_S, Site, Viewer

MakeSite = Callable[[], Awaitable[Site]]
HEART_COINS = 5


class Hall:
    """A viewer of the room on each node, one per codec, and everything that any of them was told."""

    def __init__(self, room: str, sites: list[Site]) -> None:
        self.room = room
        self.sites = sites
        self.here: list[Viewer] = []
        self.everybody: list[Viewer] = []

    @classmethod
    async def opened(cls, sites: list[Site], room: str = "demo") -> "Hall":
        hall = cls(room, sites)
        for site, user, codec in zip(hall.sites, ("alice", "bob"), ("json", "msgpack"), strict=True):
            hall.here.append(await site.join(user, room=room, codec=codec))
        hall.everybody += hall.here
        return hall

    async def says(self, *lines: str) -> list[str]:
        """Everybody says each line, and waits until all have heard it. Returns the ids."""
        replies = [
            await viewer.insist("chat.send", text=f"{line} in {viewer.codec}") for line in lines for viewer in self.here
        ]
        for viewer in self.here:
            for reply in replies:
                await viewer.happened("chat.sent", id=reply["id"])
        return [reply["id"] for reply in replies]

    async def gives(self) -> list[str]:
        """Everybody sends a gift, which is paid even if the room cannot show it. Returns the ids."""
        replies = [await viewer.gift("heart") for viewer in self.here]
        assert [reply["type"] for reply in replies] == ["ok", "ok"]
        return [reply["id"] for reply in replies]

    async def is_shown(self, gifts: list[str]) -> None:
        """Wait until everybody has been shown these gifts."""
        for viewer in self.here:
            for id in gifts:
                await viewer.happened("gifts.sent", id=id)

    async def is_refused(self) -> None:
        """Chat is refused with a time to try again, and no socket is closed."""
        for viewer in self.here:
            refused = await viewer.ask("chat.send", text="anybody there?")
            assert (refused["type"], refused["reason"]) == ("refused", "unavailable")
            assert refused["retry_after_ms"] > 0

    async def comes_back(self) -> None:
        """Everybody is asked to come back and does; they get all they missed, or hear that some of it is lost."""
        left, self.here = self.here, []
        for site, viewer in zip(self.sites, left, strict=True):
            assert Close(await viewer.closed()).comes_back
            epoch, seen = viewer.welcome["epoch"], _seqs(viewer)[-1]
            back = await self._joins(site, viewer, f"{epoch}:{seen}")
            assert back.welcome["resumed"] is (back.welcome["epoch"] == epoch)
            assert back.welcome["resumed"] is (back.welcome["gap"] is None)
            if not back.welcome["resumed"]:
                assert back.welcome["gap"] == {"from": 1, "to": back.welcome["seq"]}
            elif back.welcome["seq"] > seen:
                await back.until(lambda _, back=back: _seqs(back)[-1:] >= [back.welcome["seq"]])
                assert _seqs(back)[0] == seen + 1
            self.here.append(back)
        self.everybody += self.here

    async def _joins(self, site: Site, viewer: Viewer, since: str) -> Viewer:
        """Join, and try again while the node refuses."""
        user = viewer.welcome["you"]["user_id"]
        async with asyncio.timeout(WAIT_S):
            while True:
                with contextlib.suppress(websockets.InvalidStatus):  # 503: the room store is not back yet
                    return await site.join(user, room=self.room, codec=viewer.codec, since=since)

    def epoch(self) -> str:
        """The epoch that everybody is in."""
        [epoch] = {viewer.welcome["epoch"] for viewer in self.here}
        return str(epoch)

    def assert_one_order(self) -> dict[tuple[str, int], str]:
        """In an epoch a seq is one event, and no socket misses one between two. Returns ids by epoch and seq."""
        told: dict[tuple[str, int], dict[str, Any]] = {}
        for viewer in self.everybody:
            _assert_whole(viewer)
            for event in viewer.events():
                same = {name: value for name, value in event.items() if name != "replayed"}
                assert told.setdefault((viewer.welcome["epoch"], event["seq"]), same) == same
        self.epoch()
        return {place: event["id"] for place, event in told.items()}

    def assert_seqs_again(self) -> None:
        """The last two epochs use some seqs for different events, so the test did lose a tail."""
        told = self.assert_one_order()
        before, now = ({seq for epoch, seq in told if epoch == each} for each in self.epochs()[-2:])
        assert before & now

    def epochs(self) -> list[str]:
        return list(dict.fromkeys(viewer.welcome["epoch"] for viewer in self.everybody))

    def assert_history(self, look: redis.Redis, chats: list[str], gifts: list[str]) -> None:
        """The surviving store has each of these once; if there are gifts, they make up the room's total."""
        bodies = [row[1]["b"] for row in look.xrange(keys.room(self.room, keys.EVENTS))]
        counts = Counter({id: sum(f'"id":"{id}"' in body for body in bodies) for id in chats + gifts})
        assert set(counts.values()) == {1}, counts
        if gifts:
            assert look.hget(keys.room(self.room, keys.META), "coins") == str(HEART_COINS * len(gifts))


def _assert_whole(viewer: Viewer) -> None:
    """No seq is missing between two, but in what a new epoch sends again: that is its gifts only."""
    events = viewer.events()
    again = [event for event in events if event.get("replayed") and not viewer.welcome["resumed"]]
    assert {event["type"] for event in again} <= {"gifts.sent"}
    seqs = _seqs(viewer)
    live = seqs[len(again) :]
    assert seqs == sorted(set(seqs))
    assert live == list(range(live[0], live[0] + len(live))) if live else True


def _seqs(viewer: Viewer) -> list[int]:
    return [event["seq"] for event in viewer.events()]
