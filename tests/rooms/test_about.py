"""A room's settings and host as its nodes see them change, and what role each open socket has then."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server import limits
from server.rooms.about import about_of
from server.rooms.room import Room
from server.store import keys
from tests.conftest import Stores
from tests.features.test_viewers import counted
from tests.program import eventually
from tests.site import WAIT_S, Site, Viewer

MakeSite = Callable[[], Awaitable[Site]]
RULES = {"slow_mode_s": 60, "blocked_words": ["darn"]}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are announced soon after each other, because the real pause would only make these tests long."""
    monkeypatch.setattr(limits, "VIEWERS_EVERY_MS", 300)


async def hand_over(site: Site, to: str, *heard: Viewer) -> None:
    """Make somebody the demo room's host; wait until these viewers know."""
    host = {"user_id": to, "name": to.capitalize()}
    response = await site.http.put("/v1/rooms/demo", json={"host": host, "title": "demo", "settings": RULES})
    response.raise_for_status()
    for viewer in heard:
        await viewer.until(lambda _, viewer=viewer: host in [e.get("host") for e in viewer.events("room.updated")[-1:]])


async def said(viewer: Viewer) -> list[str]:
    """The outcome of a blocked word, and of two messages one after the other."""
    replies = [await viewer.ask("chat.send", text=text) for text in ("darn", "one", "two")]
    return [reply.get("reason", "ok") for reply in replies]


STAFF, VIEWER = ["ok"] * 3, ["blocked_words", "ok", "slow_mode"]


@pytest.mark.parametrize("far", [False, True])
async def test_another_host(site: Site, another_site: MakeSite, far: bool) -> None:
    """Rules apply to the former host and not to the new one, and events show it, on either side of the bus."""
    there = await another_site() if far else site
    await site.put_room("demo", live=False, **RULES)
    old, new = await there.join("creator"), await there.join("zoe", codec="msgpack")
    appointed = await there.join("mallory", token=there.token("mallory", "host", room="demo"))
    assert [each.welcome["you"]["role"] for each in (old, new, appointed)] == ["host", "viewer", "host"]
    assert (await old.ask("chat.send", text="darn"))["type"] == "ok"
    await hand_over(site, "zoe", old, new, appointed)
    assert [await said(each) for each in (old, new, appointed)] == [VIEWER, STAFF, STAFF]
    await old.until(lambda _: len(old.events("chat.sent")) == 1 + 1 + 3 + 3)
    by = {(event["user"]["user_id"], event["text"]): event["user"]["role"] for event in old.events("chat.sent")}
    assert by[("creator", "darn")] == "host"
    assert by[("creator", "one")] == "viewer"
    assert by[("zoe", "two")] == "host"
    assert (await old.gift("rose"))["reason"] == "insufficient_coins"  # and no longer self_gift
    assert (await new.gift("rose"))["reason"] == "self_gift"


@pytest.mark.parametrize("far", [False, True])
async def test_the_former_host_is_one_of_the_viewers(site: Site, another_site: MakeSite, far: bool) -> None:
    """Both are counted as what they are now; those who leave then are gone."""
    there = await another_site() if far else site
    watcher = await site.join("obs", "overlay")
    old, new = [await there.join("creator") for _ in range(2)], await there.join("zoe")
    await counted(watcher, 1, unique=1)
    await hand_over(site, "zoe", *old, new)
    await counted(watcher, 1, unique=2)
    await new.leave()
    await old[0].leave()
    bob = await there.join("bob")
    await counted(watcher, 2, unique=3)
    await old[1].leave()
    await counted(watcher, 1, unique=3)
    await there.join("zoe")
    await hand_over(site, "creator", bob)
    await counted(watcher, 2, unique=3)
    await hand_over(site, "zoe", bob)
    await counted(watcher, 1, unique=3)


async def test_tokens_of_a_former_host(site: Site) -> None:
    """A new token must give the role that the socket has now; the role that it gives later counts as well."""
    old = await site.join("creator")
    own = site.token("creator", "host", room="demo")
    await hand_over(site, "zoe", old)
    for token, taken in ((own, False), (site.token("creator"), True), (site.token("creator", "host"), True)):
        reply = await old.ask("session.refresh", token=token)
        assert reply.get("reason", "ok") == ("ok" if taken else "bad_token")
    await hand_over(site, "creator", old)
    assert (await old.ask("session.refresh", token=own))["type"] == "ok"
    await hand_over(site, "zoe", old)
    assert await said(old) == STAFF  # the role that this token gives


async def test_a_room_follows_its_events(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event of its life updates the room, before the store is asked."""
    watcher = await site.join("obs", "overlay")
    room = await site.node.rooms.open("demo")

    async def nothing_read(_: Room) -> None:
        """The store does not answer."""

    monkeypatch.setattr(Room, "refresh", nothing_read)
    title, settings = {"title": "Another"}, {"settings": {"slow_mode_s": 9, "chat": False, "blocked_words": []}}
    body: dict[str, Any] = {"host": {"user_id": "creator", "name": "Creator"}}
    for step in (
        "pause",
        "resume",
        title,
        "end",
        "start",
        {"host": {"user_id": "zoe", "name": "Zoë"}},
        settings,
        "suspend",
    ):
        if isinstance(step, str):
            (await site.http.post(f"/v1/rooms/demo/{step}")).raise_for_status()
        else:
            body |= step
            (await site.http.put("/v1/rooms/demo", json=body)).raise_for_status()
        raw = await site.node.history.snapshot("demo")
        await watcher.until(lambda _, seq=raw.seq: room.head >= seq)
        assert room.about == about_of(raw.meta), step


async def test_an_event_of_a_newer_node(site: Site, stores: Stores) -> None:
    """Its meaning is unknown here; the room is read again, and goes on."""
    alice = await site.join("alice")
    with stores.room.client() as look:
        look.hset(keys.room("demo", keys.META), "title", "Renamed")
        for seq, tag in enumerate(
            ("room.renamed", "room.updated"), look.hincrby(keys.room("demo", keys.META), "seq", 2) - 1
        ):
            told = f'{{"type":"{tag}","id":"e{seq}","status":"asleep"}}'
            look.xadd(keys.room("demo", keys.EVENTS), {"a": "1", "b": told}, id=f"{seq}-1")
            look.publish(keys.room("demo", keys.LIVE), f"{alice.welcome['epoch']} {seq} 1 {told}")
    await alice.happened("room.renamed")
    assert (await alice.ask("chat.send", text="still here"))["type"] == "ok"
    room = await site.node.rooms.open("demo")
    await eventually(lambda: room.about.title == "Renamed", WAIT_S, "the room as the store has it")


async def test_settings_of_programs_of_different_age(site: Site, stores: Stores) -> None:
    """A node reads a room with a setting that it does not know. It writes newer ones only into rooms that use them."""
    first = {"chat", "gifts", "slow_mode_s", "unique_chat_s", "chat_per_s", "blocked_words"}
    await site.put_room("r", slow_mode_s=3)
    with stores.room.client() as look:
        meta = keys.room("r", keys.META)
        assert set(json.loads(look.hget(meta, "settings"))) == first
        change = {"settings": {"gift_min_coins_message": 5}}
        (await site.http.patch("/v1/rooms/r", json=change)).raise_for_status()
        now = json.loads(look.hget(meta, "settings"))
        assert set(now) == {*first, "gift_min_coins_message"}
        look.hset(meta, "settings", json.dumps({**now, "of_tomorrow": 1}))
    alice = await site.join("alice", room="r")
    assert alice.welcome["room"]["settings"]["slow_mode_s"] == 3
    assert now.items() <= (await site.http.get("/v1/rooms/r")).json()["settings"].items()
