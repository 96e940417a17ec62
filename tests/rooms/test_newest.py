"""The newest chats for who joins: this broadcast's, none that was deleted, and only for those who ask."""

from typing import Any

import pytest

from protocol.chat import ChatDeleted
from protocol.wire import Named
from server import limits
from tests.site import Site, Viewer

CREATOR = Named("creator", "Creator")


@pytest.fixture(autouse=True)
def _each_snapshot_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_MS_MAX", 0.0)  # else the newest chats come live, after a shared snapshot


async def says(viewer: Viewer, *texts: str) -> list[str]:
    """The ids of these messages, once the viewer has them."""
    replies = [await viewer.ask("chat.send", text=text) for text in texts]
    await viewer.happened("chat.sent", id=replies[-1]["id"])
    return [reply["id"] for reply in replies]


async def told(site: Site, chats: object, **options: Any) -> list[str]:
    """The texts that somebody who joins with this `chats` is sent again, before what happens live."""
    viewer = await site.join("late", "bot", chats=chats, **options)
    await viewer.ask("ping")
    again = [event for event in viewer.events() if event.get("replayed")]
    assert all(event["type"] == "chat.sent" and event["seq"] <= viewer.welcome["seq"] for event in again)
    assert (viewer.welcome["resumed"], viewer.welcome["gap"]) == (False, None)
    assert [event["seq"] for event in again] == sorted(event["seq"] for event in again)
    await viewer.leave()
    return [event["text"] for event in again]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_the_newest_chats_come_again(site: Site, codec: str) -> None:
    """As many as were asked for, in order and marked as replayed; nothing else, and nothing to who did not ask."""
    bot = await site.join("bot", "bot")
    assert await told(site, 5, codec=codec) == []
    await says(bot, "one", "two")
    await (await site.join("alice")).gift("rose")
    await says(bot, "three")
    assert await told(site, 5, codec=codec) == ["one", "two", "three"]
    assert await told(site, 2, codec=codec) == ["two", "three"]
    assert await told(site, None, codec=codec) == await told(site, 0, codec=codec) == []
    await says(bot, "four")
    assert await told(site, 2, codec=codec) == ["three", "four"]


async def test_there_is_a_bound(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for more gets the most that there is."""
    monkeypatch.setattr(limits, "NEWEST_CHATS_MAX", 3)
    await says(await site.join("bot", "bot"), *"abcde")
    assert await told(site, 1_000_000) == ["c", "d", "e"]


async def test_deleted_chats_do_not_come(site: Site) -> None:
    """Neither one by its id, nor all of a person; what that person says afterwards does."""
    bot, bob = await site.join("bot", "bot"), await site.join("bob")
    (first, *_) = await says(bot, "one", "two")
    await says(bob, "bad")
    assert await told(site, 9) == ["one", "two", "bad"]
    for ids, users in (((first,), ()), ((), ("bob",))):
        await site.node.history.append("demo", ChatDeleted(id=f"d{len(ids)}", ids=ids, user_ids=users, by=CREATOR))
    await bob.happened("chat.deleted", user_ids=["bob"])
    assert await told(site, 9) == ["two"]
    await says(bob, "good")
    assert await told(site, 9) == ["two", "good"]
    for room in site.node.rooms.here():
        room.memory("newest", dict).to = 0  # as on a node that opens the room now
    assert await told(site, 9) == ["two", "good"]


async def test_another_broadcast_begins_without_chats(site: Site) -> None:
    """What was said in the broadcast before is not of this one."""
    await says(await site.join("bot", "bot"), "before")
    for verb in ("end", "start"):
        await site.http.post(f"/v1/rooms/demo/{verb}")
    bot = await site.join("bot", "bot")
    await bot.ask("ping")
    assert await told(site, 9) == []
    await says(bot, "after")
    assert await told(site, 9) == ["after"]


async def test_what_the_ring_has_not_comes_from_the_history(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, until there are enough, or no more are kept."""
    monkeypatch.setattr(limits, "NEWEST_CHATS_PAGE", 4)
    bot = await site.join("bot", "bot")
    texts = [f"line {n}" for n in range(20)]
    await says(bot, *texts)
    (room,) = site.node.rooms.here()
    assert await told(site, 1) == texts[-1:]  # from the ring
    for count in (12, 50):
        room.outbox.begin(room.head)
        room.memory("newest", dict).to = 0
        assert await told(site, count) == texts[-count:]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_behind_a_gap_the_newest_chats_come_too(site: Site, monkeypatch: pytest.MonkeyPatch, codec: str) -> None:
    """To who asks: those after what they saw, among the gap's gifts and in order. The welcome counts both."""
    bot, alice = await site.join("bot", "bot"), await site.join("alice")
    await says(bot, "seen")
    since = f"{bot.welcome['epoch']}:{bot.events('chat.sent')[-1]['seq']}"
    await says(bot, "missed", "one")
    gift = await alice.gift("rose")
    await bot.happened("gifts.sent", id=gift["id"])
    await says(bot, "two")
    assert await after_a_gap(site, None, since=since, codec=codec, resumed=True) == ["missed", "one", "rose", "two"]
    monkeypatch.setattr(limits, "REPLAY_EVENTS_MAX", 1)
    assert await after_a_gap(site, None, since=since, codec=codec) == ["rose"]
    assert await after_a_gap(site, 2, since=since, codec=codec) == ["one", "rose", "two"]
    assert await after_a_gap(site, 50, since=since, codec=codec) == ["missed", "one", "rose", "two"]
    assert await after_a_gap(site, 50, since="another:7", codec=codec) == ["seen", "missed", "one", "two"]


async def after_a_gap(site: Site, chats: object, *, resumed: bool = False, **options: Any) -> list[str]:
    """The texts and gifts that somebody who comes back is sent again; the welcome says how many."""
    viewer = await site.join("late", "bot", chats=chats, **options)
    await viewer.ask("ping")
    again = [event for event in viewer.events() if event.get("replayed")]
    shown = [event for event in again if event["type"] in ("chat.sent", "gifts.sent")]
    assert viewer.welcome["resumed"] == resumed
    assert viewer.welcome["replays"] == (0 if resumed else len(again))
    assert [event["seq"] for event in again] == sorted(event["seq"] for event in again)
    await viewer.leave()
    return [event["text"] if event["type"] == "chat.sent" else event["gift"]["id"] for event in shown]
