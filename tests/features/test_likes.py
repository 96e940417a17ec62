"""Likes: gathered, counted once, and sent as totals with the people who liked most."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server import background, limits
from server.features.likes import _Gathered, publish_likes
from server.store.client import StoreError
from tests.site import Site, Viewer

MakeSite = Callable[[], Awaitable[Site]]


def liker(user: str, count: int) -> dict[str, Any]:
    """A row of the people who like most."""
    return {"user": {"user_id": user, "name": user.capitalize()}, "count": count}


async def tap(viewer: Viewer, times: int, count: int) -> None:
    """Send this many commands at once; each is accepted."""
    replies = await asyncio.gather(*(viewer.ask("likes.send", count=count) for _ in range(times)))
    assert [reply["type"] for reply in replies] == ["ok"] * times


async def test_likes_of_two_nodes(site: Site, another_site: MakeSite) -> None:
    """Bursts become few events that add up to the total; taps count for their own person on either node."""
    there = await another_site()
    alice, bob, far_alice = await site.join("alice"), await site.join("bob"), await there.join("alice", codec="msgpack")
    bursts = ((alice, 40, 3), (bob, 40, 2), (far_alice, 40, 1))
    await asyncio.gather(*(tap(*burst) for burst in bursts))
    total = 40 * (3 + 2 + 1)
    for viewer in (alice, bob, far_alice):
        last = await viewer.happened("likes.counted", total=total)
        assert last["top"] == [liker("alice", 160), liker("bob", 80)]
        events = viewer.events("likes.counted")
        assert sum(event["added"] for event in events) == total
        assert [event["total"] for event in events] == [
            sum(event["added"] for event in events[: number + 1]) for number in range(len(events))
        ]
        span_s = (events[-1]["at_ms"] - events[0]["at_ms"]) / 1000
        assert len(events) <= 2 * (2 + span_s)  # each node sends one a second
    assert (await site.http.get("/v1/rooms/demo")).json()["likes"] == total
    assert (await (await another_site()).join("carol")).welcome["room"]["likes"] == total


async def test_one_event_a_second(site: Site) -> None:
    """Taps that never stop are sent once a second, not one by one."""
    bot, obs = await site.join("alice", "bot"), await site.join("obs", "overlay")
    sent = 0
    async with asyncio.timeout(20):
        while len(obs.events("likes.counted")) < 2:
            await tap(bot, 1, 1)
            sent += 1
    first, second = obs.events("likes.counted")[:2]
    assert second["at_ms"] - first["at_ms"] >= 800
    assert 0 < first["added"] < first["added"] + second["added"] == second["total"] <= sent


async def test_likes_of_one_person_are_bounded(
    site: Site, another_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the bound a person's taps are accepted but do not count, on any node; other people's still count."""
    monkeypatch.setattr(limits, "LIKES_PER_USER_MAX", 120)
    there = await another_site()
    alice, far_alice, bob = await site.join("alice"), await there.join("alice"), await there.join("bob")
    await asyncio.gather(tap(alice, 2, 50), tap(far_alice, 2, 50))
    await bob.happened("likes.counted", total=120)
    await tap(alice, 3, 50)
    await tap(bob, 1, 7)
    last = await bob.happened("likes.counted", total=127)
    assert last["added"] == 7
    assert last["top"] == [liker("alice", 120), liker("bob", 7)]


def test_likes_of_one_person_have_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many at once, then so many a second, however often they are asked about; each person for themselves."""
    gathered, burst, per_s = _Gathered(), limits.LIKES_PER_USER_BURST, limits.LIKES_PER_USER_PER_S
    taps = [gathered.allowed("alice", 50, 100.0) for _ in range(burst // 50 + 1)]
    assert taps == [50] * (burst // 50) + [0]
    assert gathered.allowed("bob", 50, 100.0) == 50
    assert sum(gathered.allowed("alice", 50, 100.0 + n / 1000) for n in range(1, 1001)) in (per_s - 1, per_s)
    assert gathered.allowed("alice", 500, 1_000.0) == burst
    monkeypatch.setattr(limits, "LIKERS_KEPT_MAX", 10)
    for number in range(50):
        gathered.allowed(f"u{number}", 1, 1_000.0)
    assert list(gathered.left) == [f"u{number}" for number in range(40, 50)]


async def test_taps_above_the_rate_do_not_count(site: Site) -> None:
    """On all of a person's sockets together; they are answered like the others."""
    alice, again = await site.join("alice"), await site.join("alice", codec="msgpack")
    most = limits.LIKES_PER_USER_BURST // 50
    await asyncio.gather(tap(alice, most, 50), tap(again, most, 50))
    last = await alice.happened("likes.counted")
    assert limits.LIKES_PER_USER_BURST <= last["total"] < 2 * limits.LIKES_PER_USER_BURST


async def test_likes_that_are_off(site: Site, another_site: MakeSite) -> None:
    """Refused by name, on every node, until they are on again."""
    there = await another_site()
    alice, bob = await site.join("alice"), await there.join("bob", codec="msgpack")
    for on in (False, True):
        (await site.http.patch("/v1/rooms/demo", json={"settings": {"likes": on}})).raise_for_status()
        for viewer in (alice, bob):
            await viewer.happened("room.updated", settings={**alice.welcome["room"]["settings"], "likes": on})
            reply = await viewer.ask("likes.send", count=1)
            assert reply.get("reason") == (None if on else "likes_off")


async def test_likes_of_a_stopping_node(site: Site, another_site: MakeSite) -> None:
    """A node that stops first sends the likes it has gathered."""
    there = await another_site()
    obs, alice = await site.join("obs", "overlay"), await there.join("alice")
    await tap(alice, 1, 1)
    await obs.happened("likes.counted", total=1)
    await tap(alice, 1, 9)
    await there.stop()
    there.viewers.clear()
    await obs.happened("likes.counted", total=10)


async def test_likes_of_the_broadcast_before(site: Site, another_site: MakeSite) -> None:
    """Likes not yet sent at the end of a broadcast do not count in the next one, on any node: it starts at zero."""
    there = await another_site()
    obs, alice, bob = await site.join("obs", "overlay"), await site.join("alice"), await there.join("bob")
    for viewer, total in ((alice, 1), (bob, 2)):
        await tap(viewer, 1, 1)
        await obs.happened("likes.counted", total=total)
    await asyncio.gather(tap(alice, 1, 9), tap(bob, 1, 9))  # each node waits a second since its last count
    for verb in ("end", "start"):
        await site.http.post(f"/v1/rooms/demo/{verb}")
    await obs.happened("room.updated", status="live")
    before = len(obs.events("likes.counted"))
    await there.stop()  # a node that stops sends what it has gathered
    there.viewers.clear()
    alice = await site.join("alice")
    await alice.insist("likes.send", count=2)  # until the node has read the room again
    told = await obs.until(lambda _: obs.events("likes.counted")[before:])
    assert [(event["added"], event["total"]) for event in told] == [(2, 2)]
    assert (await site.http.get("/v1/rooms/demo")).json()["likes"] == 2


@pytest.mark.parametrize("next_broadcast", [False, True])
async def test_likes_that_could_not_be_counted(
    site: Site, monkeypatch: pytest.MonkeyPatch, next_broadcast: bool
) -> None:
    """They count with the next call, beside those that came meanwhile; but not in another broadcast."""
    await background.end(site.node.rooms._task)  # here the test calls what is due itself
    obs, alice = await site.join("obs", "overlay"), await site.join("alice")
    [room] = site.node.rooms.here()

    async def fail(*_args: Any, **_named: Any) -> Any:
        patch.undo()
        for verb in ("end", "start") if next_broadcast else ():
            await site.http.post(f"/v1/rooms/demo/{verb}")
            await obs.happened("room.updated" if verb == "start" else "room.ended")
        await tap(await site.join("alice"), 1, 2)
        raise StoreError("away")

    await tap(alice, 1, 3)
    with monkeypatch.context() as patch:
        patch.setattr(site.node.history, "change", fail)
        with pytest.raises(StoreError):
            await publish_likes(room)
    await publish_likes(room)
    total = 2 if next_broadcast else 5
    assert (await obs.happened("likes.counted", total=total))["top"] == [liker("alice", total)]


async def test_likes_sent_after_the_end(site: Site) -> None:
    """They count in the broadcast that has ended, as long as no other has begun."""
    obs, alice = await site.join("obs", "overlay"), await site.join("alice")
    await tap(alice, 1, 1)
    await obs.happened("likes.counted", total=1)
    await tap(alice, 1, 9)
    await site.http.post("/v1/rooms/demo/end")
    await obs.happened("likes.counted", total=10)


async def test_likes_that_are_refused(site: Site) -> None:
    """Not in a room that is not live, not more than fifty at once, not from an overlay; none of them counts."""
    await site.put_room("dark", live=False)
    assert (await (await site.join("alice", room="dark")).ask("likes.send", count=1))["reason"] == "room_not_live"
    alice = await site.join("alice")
    for count in (0, -1, 51, 1.5, "1", None):
        assert (await alice.ask("likes.send", count=count))["reason"] == "bad_command"
    assert (await alice.ask("likes.send"))["reason"] == "bad_command"
    assert (await (await site.join("obs", "overlay")).ask("likes.send", count=1))["reason"] == "not_allowed"
    await tap(alice, 1, 50)
    assert (await alice.happened("likes.counted"))["total"] == 50
