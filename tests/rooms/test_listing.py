"""The list of rooms: pages, filters and orders, what it costs, and how new it is."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import pytest

from server import limits
from server.rooms.admin import Host, PutRoom
from server.rooms.listing import LISTS_KEPT, Listing, Wanted
from server.store import keys
from tests.conftest import Stores
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]
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


async def put(site: Site, room: str, status: int = 200, **details: Any) -> dict[str, Any]:
    """Make or change a room with these details."""
    answer = await site.http.put(f"/v1/rooms/{room}", json={"host": HOST, "title": room, **details})
    assert answer.status_code in (status, 201 if status == 200 else status), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def found(site: Site, query: str) -> list[str]:
    return [room["room_id"] for room in await every(site, query)]


async def test_rooms_are_found_by_details(site: Site, another_site: MakeSite) -> None:
    """By category, hashtag and language, also together and page by page, on every node; a change moves the room."""
    await put(site, "a", category="music", hashtags=["#Jazz", "LIVE", "jazz"], language="en")
    await put(site, "b", category="music", hashtags=["rock"], language="pt-BR")
    await put(site, "c", category="games", hashtags=["live"], language="en")
    for each in (site, await another_site()):
        assert await found(each, "category=music&limit=1") == ["a", "b"]
        assert await found(each, "hashtag=%23Live") == ["a", "c"]
        assert await found(each, "hashtag=live&language=en&category=music") == ["a"]
        assert await found(each, "language=pt-BR&status=offline&sort=viewers") == ["b"]
        assert await found(each, "language=pt-BR&status=live") == []
        assert await found(each, "hashtag=unheard-of") == []
    await put(site, "a", category="games")
    assert await found(site, "category=music") == ["b"]
    assert await found(site, "hashtag=jazz") == []
    assert await found(site, "category=games") == ["a", "c"]
    await site.http.delete("/v1/rooms/a")
    assert await found(site, "category=games") == ["c"]


async def test_the_latest_start_first(site: Site, stores: Stores) -> None:
    """Rooms that never started are last."""
    await make(site, "a", "b", "c")
    with stores.room.client() as store:
        store.hset(keys.room("a", keys.META), "started_at_ms", 5_000)
        store.hset(keys.room("c", keys.META), "started_at_ms", 4_000_000_000_000)
    assert await found(site, "sort=start") == await found(site, "sort=start&limit=1") == ["c", "demo", "a", "b"]


async def test_lists_have_a_bound(site: Site) -> None:
    """Whatever people ask for, few lists are kept, and rooms without what is wanted are not looked at."""
    await make(site, "a")
    listing = Listing(site.node.history)
    for number in range(2 * LISTS_KEPT):
        assert (await listing.page(Wanted(hashtag=f"tag-{number}"), "room", 10, None)).rooms == []
    assert len(listing._lists) == LISTS_KEPT
    assert list(listing._candidates(Wanted(hashtag="none"))) == []


DETAILS = {"category": "music", "hashtags": ["jazz"], "language": "en", "starts_at_ms": 1_900_000_000_000}
NONE = {"category": "", "hashtags": [], "language": "", "starts_at_ms": None}


async def test_details_are_everywhere(site: Site, another_site: MakeSite) -> None:
    """In the room, its snapshot and its events, on every node; a patch leaves what it does not name."""
    there = await another_site()
    alice = await there.join("alice", codec="msgpack")
    before = alice.welcome["room"]
    assert {name: before[name] for name in NONE} == NONE
    shown = await put(site, "demo", **DETAILS)
    assert {name: shown[name] for name in DETAILS} == DETAILS
    await alice.happened("room.updated", **DETAILS)
    late = (await site.join("late", "overlay")).welcome["room"]
    assert {name: late[name] for name in DETAILS} == DETAILS
    patched = (await site.http.patch("/v1/rooms/demo", json={"language": "de", "starts_at_ms": None})).json()
    wanted = {**DETAILS, "language": "de", "starts_at_ms": None}
    assert {name: patched[name] for name in DETAILS} == wanted
    await alice.happened("room.updated", **wanted)
    seq = (await site.http.get("/v1/rooms/demo")).json()["seq"]
    await put(site, "demo", **wanted)
    assert (await site.http.get("/v1/rooms/demo")).json()["seq"] == seq  # nothing changed, and nothing is said
    assert {name: (await put(site, "demo"))[name] for name in NONE} == NONE
    for wrong in (
        {"category": "Music"},
        {"hashtags": ["two words"]},
        {"hashtags": ["#"]},
        {"hashtags": ["\u200b"]},
        {"hashtags": ["x"] * 11},
        {"hashtags": ["x" * 33]},
        {"language": "english!"},
        {"starts_at_ms": -1},
    ):
        assert (await put(site, "demo", 400, **wrong))["error"]["reason"] == "bad_request", wrong
    assert {name: (await site.http.get("/v1/rooms/demo")).json()[name] for name in NONE} == NONE


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
    pages = await asyncio.gather(*(listing.page(Wanted(), "room", 10, None) for _ in range(100)))
    assert {len(page.rooms) for page in pages} == {10}
    assert calls(stores) - before < 3 * (
        1 + 51
    )  # the site's own ticks, and a second on a busy machine, may come between
