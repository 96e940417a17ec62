"""Custom events: the platform's own words, kept or not, for everybody in the room."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from protocol.custom import CustomSent
from protocol.wire import Delivery, encode
from server.features import custom
from server.rooms.history import Recorded
from server.rooms.outbox import _thinned
from server.rooms.ring import Ring
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]


async def publish(site: Site, room: str = "demo", *, status: int = 200, **fields: Any) -> dict[str, Any]:
    """Publish, and return the answer or the error."""
    answer = await site.http.post(f"/v1/rooms/{room}/publish", json=fields)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found if status == 200 else found["error"]


async def test_everybody_gets_it(site: Site, another_site: MakeSite) -> None:
    """On every node and in both codecs, in order with what else happens; also after a reload."""
    there = await another_site()
    alice, bob = await site.join("alice"), await there.join("bob", codec="msgpack")
    data = {"home": 2, "of": ["a", {"b": None}], "share": 0.5, "kept": False}
    told = await publish(site, name="score", data=data)
    said = await alice.ask("chat.send", text="goal")
    assert said["seq"] == told["seq"] + 1
    for viewer in (alice, bob):
        event = await viewer.happened("custom.sent")
        assert (event["id"], event["seq"], event["name"], event["data"]) == (told["id"], told["seq"], "score", data)
        assert "kept" not in event
    again = await there.join("late", since=f"{alice.welcome['epoch']}:{told['seq'] - 1}")
    assert (await again.happened("custom.sent"))["data"] == data


async def test_a_room_that_is_not_live_gets_it(site: Site) -> None:
    """Its status does not matter; but it must be there."""
    await site.put_room("r", live=False)
    watcher = await site.join("obs", "overlay", room="r")
    await publish(site, "r", name="soon")
    assert (await watcher.happened("custom.sent"))["data"] == {}
    assert (await publish(site, "none", status=404, name="x"))["reason"] == "no_such_room"


async def test_only_the_platform_may(site: Site) -> None:
    """It needs the service key, and a repeated Idempotency-Key publishes nothing new."""
    token = {"Authorization": f"Bearer {site.token('creator', 'host', room='demo')}"}
    answer = await site.http.post("/v1/rooms/demo/publish", json={"name": "x"}, headers=token)
    assert answer.status_code == 401
    once = {"Idempotency-Key": "one"}
    answers = [await site.http.post("/v1/rooms/demo/publish", json={"name": "x"}, headers=once) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotency-Replayed"] == "true"


BAD: tuple[tuple[int, dict[str, Any]], ...] = (
    (400, {}),
    (400, {"name": ""}),
    (400, {"name": "a:b"}),
    (400, {"name": "x" * 65}),
    (400, {"name": "x", "data": []}),
    (400, {"name": "x", "data": {"n": 2**64}}),  # msgpack has 64 bits: the room's binary sockets could not be told
    (400, {"name": "x", "data": {"text": "\0"}}),
    (400, {"name": "x", "kept": "no"}),
    (400, {"name": "x", "user_id": "anonymous"}),
    (400, {"name": "x", "seq": 1}),
    (413, {"name": "x", "data": {"text": "x" * custom.PUBLISHED_BYTES_MAX}}),
)


async def test_what_nobody_could_read_is_refused(site: Site) -> None:
    """Each says so, and the room hears nothing of it; what is just within the bounds is taken."""
    bob = await site.join("bob", codec="msgpack")
    deep: Any = {}
    for _ in range(custom.DATA_DEPTH_MAX - 1):
        deep = {"in": deep}
    for status, fields in (*BAD, (400, {"name": "x", "data": {"in": deep}})):
        await publish(site, status=status, **fields)
    largest = {"text": "x" * (custom.PUBLISHED_BYTES_MAX - len('{"text":""}'))}
    for name, data in (("a", {"n": 2**64 - 1, "low": -(2**63)}), ("b", largest), ("c", deep)):
        await publish(site, name=name, data=data)
        assert (await bob.happened("custom.sent", name=name))["data"] == data
    assert len(bob.events("custom.sent")) == 3


async def test_a_banned_persons_doing_is_refused(site: Site, another_site: MakeSite) -> None:
    """On every node, for as long as the ban holds."""
    there = await another_site()
    alice = await site.join("alice")
    await publish(site, name="wave", user_id="bob")
    assert (await alice.happened("custom.sent"))["user_id"] == "bob"
    (await site.http.post("/v1/rooms/demo/members/bob/ban", json={})).raise_for_status()
    for each in (site, there):
        assert (await publish(each, status=409, name="wave", user_id="bob"))["reason"] == "banned"
    (await site.http.post("/v1/rooms/demo/members/bob/unban", json={})).raise_for_status()
    await publish(there, name="wave", user_id="bob")


def recorded(seq: int, *, kept: bool, data: dict[str, Any] | None = None) -> Recorded:
    return Recorded(seq, b"1", encode(CustomSent(id="i", kept=kept, name="x", data=data or {})))


def test_it_is_dropped_only_if_it_says_so() -> None:
    """A slow reader misses those that are not kept, whatever their data says, and hears how many."""
    some = [recorded(1, kept=False), recorded(2, kept=True, data={"kept": False}), recorded(3, kept=False)]
    assert [event.delivery for event in some] == [Delivery.DROPPABLE, Delivery.KEPT, Delivery.DROPPABLE]
    kept, hidden, last = _thinned(some)
    assert ([event.seq for event in kept], hidden, last) == ([2], 2, 3)


def test_the_ring_keeps_them_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what has left the ring it holds those that are kept."""
    monkeypatch.setattr("server.limits.RING_EVENTS_MAX", 4)
    ring = Ring()
    ring.begin(0, [])
    for seq in range(1, 9):
        ring.append(recorded(seq, kept=seq % 2 == 0))
    left = ring.left_behind(0)
    assert left is not None
    assert [event.seq for event in left[0]] == [2, 4]
