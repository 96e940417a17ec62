"""Broadcasts that have ended: their summary is made once, whichever node dies meanwhile, and is kept for good."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from server import limits
from server.features import broadcasts
from server.journal.due import Work
from server.journal.tables import broadcasts as table
from server.journal.tables import due_work
from server.rooms import admin
from server.rooms.due import ALWAYS, do_due
from server.store import keys
from tests.program import eventually
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]
SWEEP = Work("broadcasts.sweep", "", "", 0)


async def _nothing(*_args: Any) -> None:
    """Nobody looks by themselves; or the process is killed here."""


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is due at once; only the tests do it."""
    monkeypatch.setattr(limits, "SUM_AFTER_MS", 0)
    monkeypatch.setattr(broadcasts, "JOURNAL_AGAIN_MS", 0)
    monkeypatch.setattr(limits, "VIEWERS_EVERY_MS", 100)
    monkeypatch.setattr("server.rooms.due.DueWork._look", _nothing)


async def end(site: Site, room: str = "demo", verb: str = "end") -> str:
    """End a broadcast; returns its id."""
    answer = await site.http.post(f"/v1/rooms/{room}/{verb}")
    answer.raise_for_status()
    return str(answer.json()["broadcast_id"])


async def shown(site: Site, broadcast_id: str, room: str = "demo") -> dict[str, Any] | None:
    """The summary over HTTP; None if there is none yet."""
    answer = await site.http.get(f"/v1/rooms/{room}/broadcasts/{broadcast_id}")
    return answer.json() if answer.status_code == 200 else None


async def summed(site: Site, broadcast_id: str) -> dict[str, Any]:
    """The summary, which somebody has made."""
    found = await shown(site, broadcast_id)
    assert found is not None
    return found


def count(site: Site, what: Any) -> int:
    with site.node.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(what)).scalar_one())


async def test_what_a_broadcast_brought(site: Site, another_site: MakeSite) -> None:
    """Its people, chats, likes and gifts, on every node; gifts as the journal has them, however late it is."""
    there = await another_site()
    watcher = await there.join("obs", "overlay", codec="msgpack")
    alice, bob = await site.join("alice"), await there.join("bob")
    await watcher.happened("viewers.counted", unique=2)
    for text in ("one", "two"):
        await alice.ask("chat.send", text=text)
    await bob.ask("likes.send", count=7)
    await watcher.happened("likes.counted", total=7)
    await alice.gift("rose", 5)
    await bob.gift("crown")
    await bob.gift("coffee")
    broadcast_id = await end(site)
    await do_due(site.node.services)
    assert await shown(site, broadcast_id) is None  # the journal has nothing yet
    await site.settled()
    await do_due(there.node.services)
    found = await summed(there, broadcast_id)
    assert found["duration_ms"] == found["ended_at_ms"] - found["started_at_ms"] >= 0
    wanted = {"status": "ended", "title": "Welcome to Liveroom", "host": {"user_id": "creator", "name": "Creator"}}
    wanted |= {
        "peak": 2,
        "unique": 2,
        "new_members": 2,
        "chats": 2,
        "likes": 7,
        "gifts": 7,
        "coins": 114,
        "diamonds": 60,
    }
    assert {name: found[name] for name in wanted} == wanted
    assert [(fan["user"]["name"], fan["coins"]) for fan in found["top_fans"]] == [("Bob", 109), ("Alice", 5)]
    assert (await watcher.happened("room.summed"))["broadcast"] == found
    page = (await site.http.get("/v1/rooms/demo/broadcasts")).json()
    assert page == {"broadcasts": [found], "next": None}


async def test_the_next_broadcast_counts_for_itself(site: Site) -> None:
    """Also if it begins before the summary is made; only who was not there before is new; nothing is left."""
    watcher = await site.join("obs", "overlay")
    alice = await site.join("alice")
    await watcher.happened("viewers.counted", unique=1)
    await alice.ask("chat.send", text="one")
    first = await end(site)
    await alice.closed()
    await site.http.post("/v1/rooms/demo/start")
    _, bob = await site.join("alice"), await site.join("bob")
    await watcher.happened("viewers.counted", unique=2)
    second = await end(site, verb="suspend")
    await bob.closed()
    await site.settled()
    await do_due(site.node.services)
    one, two = await summed(site, first), await summed(site, second)
    names = ("status", "unique", "new_members", "chats", "gifts")
    assert [one[name] for name in names] == ["ended", 1, 1, 1, 0]
    assert [two[name] for name in names] == ["suspended", 2, 1, 0, 0]
    pages, query = [], "limit=1"
    while query:
        page = (await site.http.get(f"/v1/rooms/demo/broadcasts?{query}")).json()
        pages += [each["broadcast_id"] for each in page["broadcasts"]]
        query = page["next"]
    assert pages == [second, first]
    store = site.node.history.store
    left = (keys.room("demo", admin.ENDED), *(keys.room("demo", admin.AUDIENCE, each) for each in (first, second)))
    assert [await store.call("EXISTS", key) for key in left] == [0, 0, 0]
    assert await store.call("HGET", keys.room("demo", keys.META), "unsummed") is None
    assert (await site.http.get("/v1/rooms/demo")).json()["viewers"]["unique"] == 2  # the room still shows it


async def test_a_node_that_dies_before_it_writes_down_what_is_due(
    site: Site, another_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node finds the room by itself."""
    there = await another_site()
    monkeypatch.setattr(admin.RoomsAdmin, "_note_ended", _nothing)
    broadcast_id = await end(site)
    await site.settled()
    assert count(there, due_work) == 0
    await broadcasts.sweep(there.node.services, SWEEP)
    await do_due(there.node.services)
    assert await shown(there, broadcast_id) is not None


async def _dies(*_args: Any, **_named: Any) -> None:
    raise RuntimeError("the process is killed here")


async def test_a_node_that_dies_before_it_tells_the_room(
    site: Site, another_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is there once, and the room gets it once, from the node that takes over when the lease is over."""
    there = await another_site()
    watcher = await there.join("obs", "overlay")
    broadcast_id = await end(site)
    await site.settled()
    with monkeypatch.context() as dying:
        dying.setattr(site.node.history, "change", _dies)
        await do_due(site.node.services)
    assert count(site, table) == 1
    assert await do_due(there.node.services) == 0  # the dead node's lease
    now_ms = there.node.clock.now_ms() + limits.DUE_LEASE_MS + 1
    monkeypatch.setattr(there.node.clock, "now_ms", lambda: now_ms)
    for node in (there, site):
        await do_due(node.node.services)
        await broadcasts.sum_up(node.node.services, Work(admin.SUM, "demo", broadcast_id, 0))
    await there.http.post("/v1/rooms/demo/publish", json={"name": "after"})
    await watcher.happened("custom.sent")
    assert len(watcher.events("room.summed")) == 1
    assert (count(site, table), count(site, due_work)) == (1, 0)


async def test_a_refund_before_the_summary_counts(site: Site) -> None:
    """What was taken back is in no sum; the gift itself was given."""
    alice = await site.join("alice")
    sent = await alice.gift("crown")
    await alice.gift("rose")
    broadcast_id = await end(site)
    await site.settled()
    (await site.http.post(f"/v1/gifts/{sent['id']}/refund", json={"reason": "r"})).raise_for_status()
    async with site.draining() as drain:
        while await drain.drain_once():
            pass
    await do_due(site.node.services)
    found = await summed(site, broadcast_id)
    assert (found["gifts"], found["coins"], found["diamonds"]) == (2, 1, 1)
    assert [fan["coins"] for fan in found["top_fans"]] == [1]


async def test_nobody_hidden_is_a_fan(site: Site) -> None:
    """Their gifts count, and the next one takes their place."""
    host = await site.join("creator", token=site.token("creator", "host", room="demo"))
    alice, bob = await site.join("alice"), await site.join("bob")
    await alice.gift("crown")
    await bob.gift("rose")
    assert (await host.ask("members.hide", user_id="alice"))["type"] == "ok"
    broadcast_id = await end(site)
    await site.settled()
    await do_due(site.node.services)
    found = await summed(site, broadcast_id)
    assert (found["gifts"], [fan["user"]["user_id"] for fan in found["top_fans"]]) == (2, ["bob"])


async def test_a_room_that_is_deleted(site: Site) -> None:
    """Its broadcasts stay; one whose summary was not made yet goes with it."""
    broadcast_id = await end(site)
    await site.settled()
    await do_due(site.node.services)
    await site.http.post("/v1/rooms/demo/start")
    lost = await end(site)
    (await site.http.delete("/v1/rooms/demo")).raise_for_status()
    await do_due(site.node.services)
    assert await shown(site, lost) is None
    assert await shown(site, broadcast_id) is not None
    assert await shown(site, broadcast_id, room="other") is None
    assert count(site, due_work) == 0


async def test_nodes_do_it_by_themselves(another_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the tests' hand: a node looks, and its sweep is work, too."""
    monkeypatch.undo()
    monkeypatch.setattr(limits, "SUM_AFTER_MS", 0)
    monkeypatch.setattr(limits, "DUE_EVERY_S", 0.05)
    site = await another_site()
    broadcast_id = await end(site)
    await site.settled()

    async def there() -> bool:
        return await shown(site, broadcast_id) is not None

    await eventually(there, what="the summary")
    assert count(site, due_work) == len(ALWAYS)
