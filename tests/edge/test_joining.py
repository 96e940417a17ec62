"""Joining: what the welcome has is tested with the room and the session; here is what storms ask of it."""

import asyncio
from typing import Any

import pytest

from server.rooms.history import History
from tests.edge.test_replays import missed_by
from tests.site import Site


async def test_a_storm_shares_one_read_of_the_history(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those whose past is no longer in memory read it together, each from another place."""
    _, since = await missed_by(site, "one", "two", "three")
    epoch, _, first = since.partition(":")
    room = await site.node.rooms.open("demo")
    last = room.head
    room.outbox._ring.begin(last, [])
    asked: list[Any] = []
    kept = History.kept

    async def counted(self: History, room_id: str, after: int, to: int) -> Any:
        asked.append((after, to))
        return await kept(self, room_id, after, to)

    monkeypatch.setattr(History, "kept", counted)
    places = range(int(first), last)
    viewers = await asyncio.gather(*(site.join(f"bob-{at}", since=f"{epoch}:{at}") for at in places))
    for at, viewer in zip(places, viewers, strict=True):
        assert viewer.welcome["resumed"] is True
        await viewer.happened("chat.sent", text="three")
        assert [event["seq"] for event in viewer.events() if event["seq"] <= last] == list(range(at + 1, last + 1))
    assert len(asked) <= 2  # a count of viewers may have come in between
