"""Many rooms on one store: they wake in batches, and what ended ones leave behind expires."""

from collections.abc import Awaitable, Callable

import pytest

from server import limits
from server.store import keys
from tests.conftest import Stores
from tests.program import eventually
from tests.site import WAIT_S, Site

MakeSite = Callable[[], Awaitable[Site]]
ROOMS = [f"room-{n}" for n in range(300)]


async def test_more_rooms_wake_than_calls_may_wait(
    another_site: MakeSite, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first node that meets a store wakes its rooms in batches; nodes after it need not look at any."""
    monkeypatch.setattr(limits, "STORE_PENDING_MAX", 100)
    monkeypatch.setattr(limits, "WAKE_BATCH", 50)
    with stores.room.client() as store:
        for room in ROOMS:
            store.hset(keys.room(room, keys.META), mapping={"epoch": "before", "store": "another", "seq": 7})
        store.sadd(keys.ROOMS, *ROOMS)
        await another_site()
        woken = [store.hmget(keys.room(room, keys.META), "prev", "base", "epoch") for room in ROOMS]
        assert {(prev, base) for prev, base, _ in woken} == {("before", "7")}
        assert "before" not in {epoch for _, _, epoch in woken}
        store.config_resetstat()
        await another_site()
        assert "cmdstat_sscan" not in store.info("commandstats")


async def test_an_ended_rooms_data_expires(site: Site, stores: Stores) -> None:
    """Only what seq and epoch need stays, however often the room still gets events. A new broadcast keeps all again."""
    alice, screen = await site.join("alice"), await site.join("screen", "overlay")
    await alice.ask("likes.send", count=2)
    await alice.gift("rose", combo="c")
    for event in ("likes.counted", "gifts.sent", "viewers.counted", "board.changed"):
        await screen.happened(event)
    with stores.room.client() as store:

        def lasting() -> set[str]:
            """The room's keys that do not expire."""
            found = store.scan_iter(keys.room("demo", keys.META).replace("meta", "*"))
            return {key.rpartition("}:")[2] for key in found if store.ttl(key) == -1}

        assert {"meta", "events", "board", "names", "likers", "seen"} <= lasting()
        await site.http.post("/v1/rooms/demo/end")
        await alice.closed()
        await eventually(lambda: lasting() == {"meta"}, WAIT_S, "only the room itself")
        assert 0 < store.ttl(keys.room("demo", keys.EVENTS)) <= limits.ROOM_KEPT_S
        store.delete(keys.room("demo", keys.EVENTS))  # as if it had expired
        waits = await site.join("alice")
        await site.put_room("demo", live=False, slow_mode_s=1)
        await waits.happened("room.updated")
        again = [keys.room("demo", name) for name in ("events", "seen", "present")]
        await eventually(lambda: store.exists(*again) == 3, WAIT_S, "the viewer's count")
        assert not lasting() & {"events", "seen", "present"}
        await site.http.post("/v1/rooms/demo/start")
        await waits.happened("room.updated", status="live")
        assert {"meta", "events", "seen", "present"} <= lasting()
