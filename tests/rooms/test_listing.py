"""The list of rooms: pages, filters and orders, what it costs, and how new it is."""

import asyncio
import random
from typing import Any
from urllib.parse import parse_qs

import pytest

from server import limits
from server.rooms.admin import Host, PutRoom
from server.rooms.listing import Listing
from server.store import keys
from tests.conftest import Stores
from tests.site import Site

HOST = {"user_id": "creator", "name": "Creator"}
NO_KEY = {"Authorization": ""}


async def make(site: Site, *names: str) -> None:
    """Create rooms behind the API's back."""
    room = PutRoom(Host("creator", "Creator"), "A room")
    await asyncio.gather(*(site.node.rooms_admin.put(name, room) for name in names))


async def listed(site: Site, query: str = "") -> dict[str, Any]:
    response = await site.http.get(f"/v1/rooms?{query}", headers=NO_KEY)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    assert set(found) == {"rooms", "next"}
    return found


async def every(site: Site, query: str = "") -> list[dict[str, Any]]:
    """All pages."""
    rooms: list[dict[str, Any]] = []
    for _ in range(100):
        page = await listed(site, query)
        rooms += page["rooms"]
        if page["next"] is None:
            return rooms
        query = page["next"]
    raise AssertionError("pages without an end")


async def test_pages(site: Site) -> None:
    """Each room is once in the pages, sorted, also when there are more than the former bound of 500."""
    names = [f"room-{n:03}" for n in range(520)]
    await make(site, *random.sample(names, len(names)))
    assert [room["room_id"] for room in await every(site)] == ["demo", *names]
    first = await listed(site, "limit=500")
    assert len(first["rooms"]) == 500
    assert parse_qs(first["next"])["after"] == ["room-498"]
    assert [room["room_id"] for room in (await listed(site, first["next"]))["rooms"]] == names[499:]
    assert len((await listed(site))["rooms"]) == limits.PAGE
    assert [room["room_id"] for room in (await listed(site, "limit=2&after=room-1"))["rooms"]] == [
        "room-100",
        "room-101",
    ]
    assert await listed(site, "after=zzz") == {"rooms": [], "next": None}


async def test_filters_and_orders(site: Site, stores: Stores) -> None:
    """By status, and with most viewers first: also page by page."""
    await make(site, *(f"r{n}" for n in range(6)))
    with stores.room.client() as store:
        for n in range(6):
            store.hset(keys.room(f"r{n}", keys.META), mapping={"now": n % 3, "status": "live" if n % 2 else "ended"})
    assert [room["room_id"] for room in await every(site, "status=live&limit=2")] == ["demo", "r1", "r3", "r5"]
    assert [room["room_id"] for room in await every(site, "status=ended")] == ["r0", "r2", "r4"]
    assert await every(site, "status=suspended") == []
    most = ["r2", "r5", "r1", "r4", "demo", "r0", "r3"]
    assert [room["room_id"] for room in await every(site, "sort=viewers")] == most
    assert [room["room_id"] for room in await every(site, "sort=viewers&limit=2")] == most
    live = [name for name in most if name in ("demo", "r1", "r3", "r5")]
    assert [room["room_id"] for room in await every(site, "sort=viewers&limit=1&status=live")] == live


async def test_a_listed_room_is_the_room(site: Site) -> None:
    """A row has what everybody may see of the room, and no blocked words."""
    await site.put_room("mine", slow_mode_s=5, blocked_words=["secret"])
    one = (await site.http.get("/v1/rooms/mine", headers=NO_KEY)).json()
    assert (await listed(site, "after=demo"))["rooms"] == [one]
    assert "secret" not in str(one)


@pytest.mark.parametrize(
    "query",
    [
        *(
            "stauts=live",
            "limit=0",
            "limit=501",
            "limit=x",
            "limit=-1",
            "limit=1.5",
            "limit=",
            "status=lively",
            "status=",
        ),
        *("sort=coins", "sort=viewers&after=-1:demo", f"after={'x' * 65}", "after=demo%0A", "after="),
        *("sort=viewers&after=%C2%B2:demo", f"sort=viewers&after={'9' * 16}:demo"),
    ],
)
async def test_malformed_queries(site: Site, query: str) -> None:
    """400, and not some other list."""
    response = await site.http.get(f"/v1/rooms?{query}", headers=NO_KEY)
    assert (response.status_code, response.json()["error"]["reason"]) == (400, "bad_request")


async def test_what_this_node_has_changed_is_there_at_once(site: Site) -> None:
    """The writer reads its own writes, though the list is read once a second."""
    assert [room["room_id"] for room in await every(site, "status=live")] == ["demo"]
    assert await every(site, "status=paused") == []
    assert [room["room_id"] for room in await every(site, "sort=viewers")] == ["demo"]
    await site.put_room("mine")
    assert [room["room_id"] for room in await every(site, "status=live")] == ["demo", "mine"]
    await site.http.post("/v1/rooms/mine/pause")
    assert [room["room_id"] for room in await every(site, "status=live")] == ["demo"]
    assert [room["room_id"] for room in await every(site, "status=paused")] == ["mine"]
    assert [room["room_id"] for room in await every(site, "sort=viewers")] == ["demo", "mine"]


async def test_what_another_node_has_changed_since(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next reading shows it, though this node has changed the room before."""
    monkeypatch.setattr(limits, "LISTING_S", 0.0)
    monkeypatch.setattr(limits, "LISTING_SHARE", 1e9)  # each asker reads it again
    await site.put_room("mine")
    assert [room["room_id"] for room in await every(site, "status=live")] == ["demo", "mine"]
    with stores.room.client() as store:
        store.hset(keys.room("mine", keys.META), "status", "paused")
    assert [room["room_id"] for room in await every(site, "status=live")] == ["demo"]


def calls(stores: Stores) -> int:
    """Commands that the room store has carried out so far, but for those of this look."""
    with stores.room.client() as store:
        stats: dict[str, Any] = store.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("hmget", "smembers", "evalsha"))


async def test_many_askers_cost_one_reading(site: Site, stores: Stores) -> None:
    """However many ask at once, the store is read once a second at most."""
    await make(site, *(f"r{n}" for n in range(50)))
    listing = Listing(site.node.history)
    before = calls(stores)
    pages = await asyncio.gather(*(listing.page(None, "room", 10, None) for _ in range(100)))
    assert {len(page.rooms) for page in pages} == {10}
    assert calls(stores) - before < 2 * (1 + 51)  # the site's own ticks may come between
