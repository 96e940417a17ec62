"""Levels of gifters: told once in the room, shown beside names, and a banner for who comes in with a high one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server import limits
from server.features import levels
from server.journal import givers
from server.journal.due import Work
from server.store.client import StoreDown
from tests.conftest import Stores
from tests.features.test_members import host_of
from tests.program import eventually
from tests.site import Site, Viewer

MakeSite = Callable[..., Awaitable[Site]]
SWEEP = Work("levels.sweep", "", "", 0)


async def journal(site: Site) -> None:
    """Bring all gifts into the journal, and what reversals take to the rooms."""
    async with site.draining(ahead_s=limits.RETELL_AFTER_MS / 1000) as drain:
        while await drain.drain_once():
            pass
        await drain._retell.once()


async def badges_of(viewer: Viewer, text: str) -> list[str]:
    await viewer.ask("chat.send", text=text)
    return [each for each in (await viewer.happened("chat.sent", text=text))["user"]["badges"] if "level" in each]


async def level_of(site: Site, user: str) -> dict[str, Any]:
    return dict((await site.http.get(f"/v1/users/{user}/level")).json())


async def knows(site: Site, user: str, level: int) -> None:
    """Wait until the node has learnt somebody's level."""
    [room] = site.node.rooms.here()
    await eventually(lambda: room.memory("levels", dict).levels.get(user) == level, what="a level")


async def test_a_level_is_told_when_the_journal_has_the_gift(site: Site, another_site: MakeSite) -> None:
    """Once, on both nodes; then it stands beside the name. A refund lowers it, and it does not come a second time."""
    there = await another_site()
    alice, bob = await site.join("alice"), await there.join("bob", codec="msgpack")
    sent = await alice.gift("coffee")
    await alice.gift("rose")
    await bob.happened("gifts.sent", id=sent["id"])
    await asyncio.gather(*(levels.look_at_levels(room) for room in site.node.rooms.here()))
    assert not bob.events("levels.reached")
    await journal(site)
    for viewer in (alice, bob):
        told = await viewer.happened("levels.reached")
        assert (told["user"], told["level"]) == ({"user_id": "alice", "name": "Alice"}, 2)
    assert await badges_of(alice, "one") == ["level:2"]
    assert await level_of(there, "alice") == {
        **{"user_id": "alice", "coins": 11, "level": 2, "banner": "", "next_coins": 50}
    }
    (await site.http.post(f"/v1/gifts/{sent['id']}/refund", json={})).raise_for_status()
    await journal(site)
    await bob.happened("gifts.refunded")
    await knows(site, "alice", 1)
    assert (await level_of(site, "alice"))["coins"] == 1
    again = await alice.gift("coffee")
    await journal(site)
    await knows(site, "alice", 2)
    assert (await bob.happened("gifts.sent", id=again["id"]))["from"]["badges"] == ["level:1", "top:1"][::-1]
    await alice.gift("crown")
    await journal(site)
    await bob.happened("levels.reached", level=4)
    assert [event["level"] for event in bob.events("levels.reached")] == [2, 4]


async def test_nobody_hears_of_anonymous_gifts(site: Site) -> None:
    """They are in no level."""
    alice, bob = await site.join("alice"), await site.join("bob")
    await alice.gift("crown", anonymous=True)
    await bob.gift("rose")
    await journal(site)
    await bob.happened("levels.reached", level=1)
    assert {event["user"]["user_id"] for event in bob.events("levels.reached")} == {"bob"}
    assert (await level_of(site, "alice"))["level"] == 0


async def test_nobody_hears_of_hidden_people(site: Site) -> None:
    """Neither of their levels nor that they come in; who compares the frames of a control viewer finds nothing."""
    host, control = await host_of(site), await site.join("control")
    mallory = await site.join("mallory")
    await site.give_coins("mallory", 5_000)
    await host.ask("members.hide", user_id="mallory")
    await mallory.gift("crown", 25)
    await journal(site)
    await knows(site, "mallory", 10)
    await mallory.leave()
    again = await site.join("mallory")
    await knows(site, "mallory", 10)
    await again.ask("chat.send", text="hello?")
    await control.ask("chat.send", text="end")
    await control.happened("chat.sent", text="end")
    assert not [e for e in control.events() if e["type"] in ("levels.reached", "members.entered")]


async def rich(site: Site, *users: str) -> None:
    """Give these people level 10 or more."""
    await site.put_room("other")
    for user in users:
        await site.give_coins(user, 3_000)
        viewer = await site.join(user, room="other")
        assert (await viewer.gift("crown", 25))["type"] == "ok"
        await viewer.leave()
    await journal(site)


async def test_who_comes_in_above_the_rooms_level(site: Site, another_site: MakeSite) -> None:
    """Everybody sees the banner, on every node; not again when the socket comes back, nor of those below."""
    await rich(site, "carol")
    there = await another_site()
    alice, bob = await site.join("alice"), await there.join("bob", codec="msgpack")
    carol = await there.join("carol")
    for viewer in (alice, bob, carol):
        entered = await viewer.happened("members.entered")
        assert {name: entered[name] for name in ("user", "level", "banner")} == {
            **{"user": {"user_id": "carol", "name": "Carol"}, "level": 10, "banner": "bronze"}
        }
    await carol.leave()
    await there.join("carol")
    await knows(there, "carol", 10)
    await alice.ask("chat.send", text="end")
    await alice.happened("chat.sent", text="end")
    assert [event["user"]["user_id"] for event in alice.events("members.entered")] == ["carol"]


@pytest.mark.parametrize("settings", [{"spotlight_level": 10}, {"joins": False}])
async def test_a_room_that_shows_nobody(site: Site, settings: dict[str, Any]) -> None:
    """The level must be above the room's, and `joins` on."""
    await rich(site, "carol")
    await site.put_room("demo", **settings)
    alice = await site.join("alice")
    assert alice.welcome["room"]["settings"].items() >= settings.items()
    await site.join("carol")
    [room] = [one for one in site.node.rooms.here() if one.id == "demo"]
    await eventually(lambda: room.memory("levels", dict).levels.get("carol") == 10, what="a level")
    await alice.ask("chat.send", text="end")
    await alice.happened("chat.sent", text="end")
    assert not alice.events("members.entered")


async def test_a_storm_of_joins(site: Site) -> None:
    """Of many who come at once the room sees a few."""
    users = [f"u{n}" for n in range(12)]
    await rich(site, *users)
    alice = await site.join("alice")
    await asyncio.gather(*(site.join(user) for user in users))
    [room] = [one for one in site.node.rooms.here() if one.id == "demo"]
    await eventually(lambda: len(room.memory("levels", dict).levels) == 13, what="everybody's level")
    await alice.ask("chat.send", text="end")
    await alice.happened("chat.sent", text="end")
    assert levels.ENTER_BURST <= len(alice.events("members.entered")) <= levels.ENTER_BURST + 2


async def test_a_node_that_dies_before_it_tells(
    site: Site, another_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The level is written down, and another node tells the room, once: by the room's list, or without it."""
    there = await another_site()
    alice, bob = await site.join("alice"), await there.join("bob")
    claim = givers.claim

    def dies(*args: Any) -> Any:
        claim(*args)
        raise StoreDown("the process is killed here")

    with monkeypatch.context() as dying:
        dying.setattr(givers, "claim", dies)
        await alice.gift("rose")
        await journal(site)
        engine, now_ms = site.node.engine, site.node.clock.now_ms()
        await eventually(lambda: bool(givers.untold(engine, now_ms + 60_000)), what="a level that nobody told")
    monkeypatch.setattr(levels, "UNTOLD_AFTER_MS", -60_000)
    for node in (there.node, site.node):
        await levels.sweep(node.services, SWEEP)
    await bob.happened("levels.reached", level=1)
    monkeypatch.setattr(levels, "LOOK_LEASE_MS", 0)  # what the dead node had taken
    await knows(site, "alice", 1)
    await alice.gift("rose")
    await journal(site)
    await bob.ask("chat.send", text="end")
    await bob.happened("chat.sent", text="end")
    assert len(bob.events("levels.reached")) == 1
    assert givers.untold(engine, now_ms + 60_000) == []


async def test_a_room_that_was_deleted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room gets the level, and nobody asks again."""
    monkeypatch.setattr(levels, "UNTOLD_AFTER_MS", -60_000)
    alice = await site.join("alice")
    await alice.gift("rose")
    (await site.http.delete("/v1/rooms/demo")).raise_for_status()
    await alice.closed()
    await journal(site)
    givers.claim(site.node.engine, "demo", ["alice"], site.node.services.levels.level_of, 1)
    await levels.sweep(site.node.services, SWEEP)
    assert givers.untold(site.node.engine, site.node.clock.now_ms()) == []


async def test_nothing_stays_of_those_who_left(site: Site, stores: Stores) -> None:
    """Neither on the node nor in the room store's list."""
    alice = await site.join("alice")
    await alice.gift("rose")
    await journal(site)
    await alice.happened("levels.reached")
    [room] = site.node.rooms.here()
    with stores.room.client() as look:
        await eventually(lambda: not look.exists("{r:demo}:level_due", "{r:demo}:level_gifts"), what="an empty list")
    await alice.leave()
    await eventually(lambda: not room.memory("levels", dict).sockets, what="the way out")
    assert not room.memory("levels", dict).levels
