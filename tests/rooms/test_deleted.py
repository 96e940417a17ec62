"""A room that is deleted is gone as a whole: its sockets, keys and place in the list. Its name may be used again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import websockets
from sqlalchemy.exc import OperationalError

from protocol.closes import Close, comes_back
from server.journal import goals
from server.journal.goals import Defined
from server.rooms import admin
from server.rooms.admin import Host, PutRoom
from server.store import keys
from server.store.client import StoreDown
from server.store.scripts import Script
from tests.conftest import Stores
from tests.program import eventually
from tests.site import Site

MakeSite = Callable[[], Awaitable[Site]]


async def listed(site: Site) -> set[str]:
    return {room["room_id"] for room in (await site.http.get("/v1/rooms")).json()["rooms"]}


def kept(stores: Stores, room: str = "demo") -> set[str]:
    """The room's keys that do not expire soon by themselves."""
    with stores.room.client() as client:
        found = set(client.scan_iter(f"{{r:{room}}}:*"))
        return {key for key in found if client.ttl(key) < 0}


async def test_sockets_keys_and_list(site: Site, another_site: MakeSite, stores: Stores) -> None:
    """Everybody gets the event and is closed for good, overlays too, on every node; nothing stays but what expires."""
    there = await another_site()
    watching = [await site.join("alice"), await there.join("bob", codec="msgpack"), await there.join("obs", "overlay")]
    await watching[0].gift("heart", 2, combo="c1")
    await watching[1].ask("chat.send", text="hello")
    await watching[0].happened("viewers.counted", now=2)
    answer = await site.http.delete("/v1/rooms/demo")
    assert (answer.status_code, answer.json()["room_id"], answer.json()["status"]) == (200, "demo", "live")
    for viewer in watching:
        assert await viewer.closed() == Close.NO_SUCH_ROOM == 4513
        assert viewer.events()[-1]["type"] == "room.deleted"
    assert not comes_back(4513)
    assert await listed(site) == set()
    for each in (site, there):
        assert (await each.http.get("/v1/rooms/demo")).status_code == 404
        with pytest.raises(websockets.InvalidStatus) as refused:
            await each.join("carol")
        assert refused.value.response.status_code == 404
    assert kept(stores) == set()
    again = await site.http.delete("/v1/rooms/demo")
    assert (again.status_code, again.json()["error"]["reason"]) == (404, "no_such_room")
    await site.settled()  # the money is the journal's


async def test_commands_under_way(site: Site, stores: Stores) -> None:
    """They are refused for good: nobody needs to try again. The node has not heard of the end yet."""
    host = await site.join("creator", token=site.token("creator", "host", room="demo"))
    with stores.room.client() as client:
        client.delete(keys.room("demo", keys.META))
    for command in ({"type_": "chat.send", "text": "hello"}, {"type_": "members.kick", "user_id": "bob"}):
        refused = await host.ask(**command)
        assert (refused["reason"], refused["retry_after_ms"]) == ("room_not_live", None), command


async def test_the_name_again(site: Site, another_site: MakeSite) -> None:
    """The next room of this name begins with nobody and nothing: a new epoch, no counts, no history."""
    there = await another_site()
    before = [await site.join("alice"), await there.join("bob")]
    await before[0].gift("heart", 2)
    await before[0].happened("viewers.counted", now=2)
    since = f"{before[0].welcome['epoch']}:{before[0].events()[-1]['seq']}"
    (await site.http.delete("/v1/rooms/demo")).raise_for_status()
    await site.put_room("demo")
    assert await listed(site) == {"demo"}
    for viewer in before:
        assert await viewer.closed() == Close.NO_SUCH_ROOM
    alice = await there.join("alice", since=since)
    assert not alice.welcome["resumed"]
    assert alice.welcome["gap"] is not None
    room = alice.welcome["room"]
    assert (room["coins"], room["likes"], room["top"]) == (0, 0, [])
    count = await alice.happened("viewers.counted")
    assert (count["now"], count["peak"], count["unique"]) == (1, 1, 1)
    assert (await alice.gift("rose"))["type"] == "ok"
    await alice.happened("gifts.sent")


async def test_what_sql_has_goes_too(site: Site, another_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bans, goals, rules, emotes and overlay links, on every node; the next room begins without them."""
    there, path, headers = await another_site(), "/v1/rooms/demo", {"Authorization": ""}
    emote = {"code": "hi", "id": "hi", "url": "/web/gifts/rose.svg"}
    rule = {"gift": "rose", "event": {"name": "rain"}}
    for asked in (
        site.http.post(f"{path}/members/bob/ban", json={}),
        site.http.put(f"{path}/goals/g1", json={"kind": "coins", "title": "Moon", "target": 10}),
        site.http.put(f"{path}/rules", json={"rules": [rule]}),
        site.http.put(f"{path}/emotes", json={"emotes": [emote]}),
    ):
        (await asked).raise_for_status()
    key = (await site.http.post(f"{path}/overlays", json={})).json()["key"]
    with monkeypatch.context() as patched:

        def away(*_: object) -> None:
            raise OperationalError("", {}, Exception("away"))

        patched.setattr(admin, "forget_room", away)
        assert (await site.http.delete(path)).status_code == 503
    assert await listed(site) == {"demo"}
    (await site.http.delete(path)).raise_for_status()
    await site.put_room("demo")
    for node in (site, there):
        assert (await node.http.get(f"{path}/goals")).json() == {"goals": []}
        assert (await node.http.get(f"{path}/rules")).json()["rules"] == []
        await eventually(lambda at=node: _has_no_emotes(at))
        entered = await node.http.post(f"{path}/overlays/token", headers={"Authorization": f"Bearer {key}"})
        assert entered.status_code == 403
        assert (await (await node.join("bob")).ask("chat.send", text="hello"))["type"] == "ok"
    assert (await site.http.get(f"{path}/emotes", headers=headers)).json() == {"emotes": []}


async def test_a_goal_that_is_made_in_between(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written when SQL has forgotten the room, and before its store has."""
    real = site.node.history.change
    goal = Defined(id="g1", kind="coins", gift=None, title="Moon", target=9, created_ms=1)

    async def late(room_id: str, script: Script, **named: Any) -> list[Any]:
        if script is admin.DELETE:
            goals.change(site.node.engine, room_id, lambda before: (*before, goal), 1)
        return await real(room_id, script, **named)

    monkeypatch.setattr(site.node.history, "change", late)
    (await site.http.delete("/v1/rooms/demo")).raise_for_status()
    await site.put_room("demo")
    assert (await site.http.get("/v1/rooms/demo/goals")).json() == {"goals": []}


async def _has_no_emotes(site: Site) -> bool:
    return (await site.http.get("/v1/rooms/demo/emotes", headers={"Authorization": ""})).json() == {"emotes": []}


async def test_a_delete_that_is_repeated(site: Site, stores: Stores) -> None:
    """With its Idempotency-Key it gets the first answer again, and does not delete the next room of that name."""
    await site.put_room("mine")
    once = {"Idempotency-Key": "delete-1"}
    first = await site.http.delete("/v1/rooms/mine", headers=once)
    await site.put_room("mine")
    again = await site.http.delete("/v1/rooms/mine", headers=once)
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")
    assert "mine" in await listed(site)
    assert (await site.http.delete("/v1/rooms/mine", headers={"Authorization": ""})).status_code == 401


ROOM = PutRoom(Host("creator", "Creator"))


async def test_a_put_that_dies_half_way(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A room is never there without being listed; a name that is listed without a room shows nowhere."""
    history, admin = site.node.history, site.node.rooms_admin

    async def dies(*_: object, **__: object) -> None:
        raise StoreDown("died")

    with monkeypatch.context() as patched:
        patched.setattr(history, "change", dies)
        with pytest.raises(StoreDown):
            await admin.put("half", ROOM)
    with monkeypatch.context() as patched:
        patched.setattr(history, "enlist", dies)
        with pytest.raises(StoreDown):
            await admin.put("other", ROOM)
    with stores.room.client() as client:
        assert not client.exists(keys.room("half", keys.META))
        assert not client.exists(keys.room("other", keys.META))
    assert await listed(site) == {"demo"}
    assert await admin.put("half", ROOM)
    await eventually(lambda: site.node.room_store.up, 5, "the store")
    with stores.room.client() as client:
        assert client.sismember(keys.ROOMS, "half")


async def test_a_room_that_the_list_lacks(site: Site, stores: Stores) -> None:
    """As an older program may have left it: the next put, or the next socket, lists it."""

    for act in (site.put_room, lambda room: site.join("alice", room=room)):
        with stores.room.client() as client:
            client.srem(keys.ROOMS, "demo")
            await act("demo")
            assert client.sismember(keys.ROOMS, "demo")


async def test_deleted_and_made_at_the_same_time(site: Site, stores: Stores) -> None:
    """Whatever comes first, a room that is there is listed."""
    admin = site.node.rooms_admin
    for _ in range(20):
        await asyncio.gather(
            *(admin.put("often", ROOM), admin.delete("often"), admin.put("often", ROOM), admin.delete("often")),
            return_exceptions=True,
        )
        with stores.room.client() as client:
            assert client.sismember(keys.ROOMS, "often") == client.exists(keys.room("often", keys.META))
