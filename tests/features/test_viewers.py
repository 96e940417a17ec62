"""Presence: people by role, not sockets, over all nodes; people who leave and nodes that die stop counting."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server import background, limits
from server.features import viewers
from server.features.viewers import leave_presence, publish_viewers
from server.journal.due import Work
from server.store import keys
from server.store.client import Store, StoreError
from tests.conftest import Stores
from tests.program import eventually
from tests.site import WAIT_S, Site, Viewer

MakeSite = Callable[[], Awaitable[Site]]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are announced soon after each other, because the real pause would only make these tests long."""
    monkeypatch.setattr(limits, "VIEWERS_EVERY_MS", 300)


async def counted(viewer: Viewer, now: int, **fields: Any) -> dict[str, Any]:
    """Wait until the newest count that the viewer got says so."""

    def newest(_: object) -> dict[str, Any] | None:
        counts = viewer.events("viewers.counted")
        wanted = {"now": now, **fields}
        fits = counts and all(counts[-1][key] == value for key, value in wanted.items())
        return counts[-1] if fits else None

    event: dict[str, Any] = await viewer.until(newest)
    return event


async def test_people_are_counted_not_sockets(site: Site, another_site: MakeSite) -> None:
    """Two sockets on one node and a third on another are one person, who counts until the last of them leaves."""
    there = await another_site()
    watcher = await site.join("obs", "overlay")
    alices = [await site.join("alice"), await site.join("alice"), await there.join("alice", codec="msgpack")]
    bob = await there.join("bob")
    await counted(watcher, 2, peak=2, unique=2)
    await counted(bob, 2, peak=2, unique=2)
    for alice in alices[:2]:
        await alice.leave()
    carol = await there.join("carol")
    await counted(watcher, 3, peak=3, unique=3)
    await alices[2].leave()
    await counted(watcher, 2, peak=3, unique=3)
    await counted(carol, 2, peak=3, unique=3)
    assert max(event["now"] for event in watcher.events("viewers.counted")) == 3


async def test_one_of_two_sockets(site: Site) -> None:
    """Its person stays."""
    watcher = await site.join("obs", "overlay")
    alices = [await site.join("alice"), await site.join("alice")]
    await counted(watcher, 1)
    await alices[0].leave()
    await site.join("bob")
    await counted(watcher, 2)
    await alices[1].leave()
    await counted(watcher, 1)


async def test_only_viewers_count(site: Site, another_site: MakeSite) -> None:
    """Overlay, bot, moderator and host do not count, even beside a viewer's socket of the same person."""
    there = await another_site()
    others = [await site.join(role, role) for role in ("overlay", "bot", "moderator")]
    others.append(await site.join("creator", "host"))
    others += [await there.join("alice", "moderator"), await there.join("obs", "overlay")]
    await site.join("alice")
    await counted(others[0], 1, peak=1, unique=1)
    await others[4].leave()
    await site.join("bob")
    for other in others[:4]:
        await counted(other, 2, peak=2, unique=2)
        assert {user["user_id"] for event in other.events("viewers.counted") for user in event["joined"]} <= {
            "alice",
            "bob",
        }


async def test_the_sample_names_those_who_came(site: Site) -> None:
    """`joined` names people who came since the last count, not only at the very moment of the count."""
    watcher = await site.join("obs", "overlay")
    await site.join("alice")
    first = await counted(watcher, 1)
    assert first["joined"] == [{"user_id": "alice", "name": "Alice"}]
    await site.join("bob")  # within the pause between two counts
    second = await counted(watcher, 2)
    assert second["joined"] == [{"user_id": "bob", "name": "Bob"}]


async def test_the_sample_is_bounded(site: Site) -> None:
    """When many come at once, all are counted and some of them are named, each once."""
    watcher = await site.join("obs", "overlay")
    crowd = [f"u{number}" for number in range(20)]
    await asyncio.gather(*(site.join(user) for user in crowd))
    await counted(watcher, 20, peak=20, unique=20)
    for event in watcher.events("viewers.counted"):
        names = [user["user_id"] for user in event["joined"]]
        assert len(names) == len(set(names)) <= limits.JOINED_SAMPLE
        assert set(names) <= set(crowd)


async def test_coming_back_is_not_a_new_person(site: Site) -> None:
    """`unique` counts a person once per broadcast; `peak` stays the most that were here together."""
    watcher = await site.join("obs", "overlay")
    alice = await site.join("alice")
    await counted(watcher, 1, unique=1)
    await alice.leave()
    await counted(watcher, 0, peak=1, unique=1)
    await site.join("bob")
    await counted(watcher, 1, peak=1, unique=2)
    await site.join("alice")
    event = await counted(watcher, 2, unique=2)
    assert event["peak"] == 2


async def test_counts_keep_their_distance(site: Site, another_site: MakeSite) -> None:
    """However many come and go on two nodes, counts keep their distance, and the last one is right."""
    there = await another_site()
    watcher = await site.join("obs", "overlay")
    for number in range(8):
        await (site, there)[number % 2].join(f"u{number}")
    await counted(watcher, 8)
    times = [event["at_ms"] for event in watcher.events("viewers.counted")]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(gap >= limits.VIEWERS_EVERY_MS for gap in gaps)


async def test_a_node_that_stops_takes_its_viewers_along(
    site: Site, another_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its people leave with it, except those who are also elsewhere."""
    monkeypatch.setattr(limits, "PRESENCE_BEAT_S", 1.0)  # the others announce it with their next beat at the latest
    there = await another_site()
    watcher = await site.join("obs", "overlay")
    await site.join("alice")
    for user in ("alice", "bob", "carol"):
        await there.join(user)
    await counted(watcher, 3)
    await there.stop()
    there.viewers.clear()
    await counted(watcher, 1, peak=3, unique=3)


async def test_a_dead_node_leaves_no_ghosts(site: Site, another_site: MakeSite, stores: Stores) -> None:
    """A node that is silent for too long is forgotten with its people; those who are also elsewhere still count."""
    watcher = await site.join("obs", "overlay")
    await site.join("alice")
    await counted(watcher, 1)
    with stores.room.client() as client:  # the state that a killed node leaves behind
        client.sadd(keys.room("demo", "node", "dead"), "alice", "ghost")
        client.hincrby(keys.room("demo", "present"), "alice", 1)
        client.hincrby(keys.room("demo", "present"), "ghost", 1)
        client.zadd(keys.room("demo", "nodes"), {"dead": 1})
        client.sadd(keys.room("demo", "seen"), "ghost")
    await site.join("bob")  # any change on a living node
    await counted(watcher, 2, unique=3)
    with stores.room.client() as client:
        assert not client.exists(keys.room("demo", "node", "dead"))
        assert client.zscore(keys.room("demo", "nodes"), "dead") is None
        assert client.hgetall(keys.room("demo", "present")) == {"alice": "1", "bob": "1"}


async def test_a_node_that_was_taken_for_dead(
    site: Site, another_site: MakeSite, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it is active again all its people count again, those who stayed as well as those who come."""
    monkeypatch.setattr(limits, "PRESENCE_BEAT_S", 1_000.0)  # long silent, like a frozen node
    there = await another_site()
    watcher = await site.join("obs", "overlay")
    await site.join("alice")
    await there.join("bob")
    await there.join("carol")
    await counted(watcher, 3, peak=3)
    nodes, there_id = keys.room("demo", "nodes"), there.node.rooms._services.node_id
    with stores.room.client() as client:
        assert client.zadd(nodes, {there_id: 1}, xx=True, ch=True) == 1
    await site.join("dora")  # the living node takes the other for dead
    await counted(watcher, 2, peak=3, unique=4)
    await there.join("eve")  # but it lives
    await counted(watcher, 5, peak=5, unique=5)
    with stores.room.client() as client:
        assert client.hgetall(keys.room("demo", "present")) == dict.fromkeys(
            ("alice", "bob", "carol", "dora", "eve"), "1"
        )


async def test_people_who_come_and_go_leave_no_trace(site: Site) -> None:
    """Somebody who comes and goes before the store knows does not stay in the count."""
    watcher = await site.join("obs", "overlay")
    stays = await site.join("alice")
    passing = await asyncio.gather(*(site.join(f"p{number}") for number in range(5)))
    await asyncio.gather(*(viewer.leave() for viewer in passing))
    await counted(watcher, 1)
    await site.join("bob")
    await counted(stays, 2)


async def test_a_beat_that_could_not_be_sent(site: Site, stores: Stores) -> None:
    """It is sent as soon as the store is back: one failure must not cost two beats."""
    await background.end(site.node.rooms._task)  # here the test calls what is due itself
    await site.join("alice")
    [room] = site.node.rooms.here()
    await publish_viewers(room)
    store = site.node.room_store
    assert isinstance(store, Store)
    assert store.link is not None
    with stores.room.client() as look:
        look.delete(keys.room("demo", "nodes"))
        presence = room.memory("viewers", dict)
        presence.beat_at_ms, presence.later = 0, False  # a beat is due, and nothing else
        store.link.abort()
        with pytest.raises(StoreError):
            await publish_viewers(room)
        await eventually(lambda: not store.up, what="the loss")
        await store.wait_up(WAIT_S)
        await publish_viewers(room)
        assert look.zscore(keys.room("demo", "nodes"), site.node.rooms._services.node_id) is not None


async def test_an_answer_that_is_lost(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who came and left again stops counting, although the node never heard that the store counts them."""
    await background.end(site.node.rooms._task)  # here the test calls what is due itself
    await site.join("bob")
    alice = await site.join("alice")
    [room] = site.node.rooms.here()
    history = site.node.services.history
    change = history.change

    async def lost(*args: Any, **named: Any) -> Any:
        await change(*args, **named)
        raise StoreError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(history, "change", lost)
        with pytest.raises(StoreError):
            await publish_viewers(room)
    with stores.room.client() as look:
        assert set(look.hkeys(keys.room("demo", "present"))) == {"bob", "alice"}
        await alice.leave()
        await eventually(lambda: len(room.members) == 1, WAIT_S, "the way out")
        await publish_viewers(room)
        assert look.hgetall(keys.room("demo", "present")) == {"bob": "1"}  # though his coming was told twice
    assert not room.memory("viewers", dict).unsure


async def test_a_room_that_closes_under_its_viewers(site: Site, stores: Stores) -> None:
    """They stop counting, also those who have not left, and so does the node."""
    await background.end(site.node.rooms._task)  # here the test calls what is due itself
    await site.join("alice")
    [room] = site.node.rooms.here()
    await publish_viewers(room)
    await leave_presence(room)
    with stores.room.client() as look:
        assert look.hgetall(keys.room("demo", "present")) == {}
        assert look.zcard(keys.room("demo", "nodes")) == 0


async def test_a_dead_node_that_was_alone(
    site: Site, another_site: MakeSite, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its viewers stop counting although nobody else is in the room, and other rooms keep theirs."""
    await site.put_room("alone")
    alone, live = keys.room("alone", keys.META), keys.room("demo", keys.META)
    await counted(await site.join("alice"), 1)
    with stores.room.client() as store:  # the state that a killed node leaves behind
        store.sadd(keys.room("alone", "node", "dead"), "ghost")
        store.hset(keys.room("alone", "present"), "ghost", 1)
        store.zadd(keys.room("alone", "nodes"), {"dead": 1})
        store.hset(alone, mapping={"now": 1, "peak": 1, "unique": 1})
        for _ in range(2):
            again = await viewers.sweep(site.node.services, Work("viewers.sweep", "", "", 0))
            assert again is not None
            assert again.due_at_ms > site.node.clock.now_ms()
            assert (store.hget(alone, "now"), store.hget(alone, "peak")) == ("0", "1")
            assert store.hget(live, "now") == "1"
        assert not store.exists(keys.room("alone", "nodes"), keys.room("alone", "present"))
        assert store.zcard(keys.room("demo", "nodes")) == 1
    events = (await site.http.get("/v1/rooms/alone/events?types=viewers.counted")).json()["events"]
    assert [event["now"] for event in events] == [0]


async def test_nobody_is_shown_coming(site: Site) -> None:
    """A room may switch it off; the counts stay."""
    await site.put_room("demo", joins=False)
    watcher = await site.join("obs", "overlay")
    await site.join("alice")
    await counted(watcher, 1)
    assert [event["joined"] for event in watcher.events("viewers.counted")] == [[]]
