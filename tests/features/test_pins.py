"""Pins: staff keeps messages and gifts in sight, big gifts pin themselves, and all of them end."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from server.features import pins
from server.store import keys
from tests.conftest import Stores
from tests.features.test_members import host_of
from tests.program import eventually
from tests.site import Site, Viewer

MakeSite = Callable[..., Awaitable[Site]]


async def pinned(viewer: Viewer, *ids: str) -> None:
    """Wait until these are pinned, as a client folds the events."""

    def now(_told: object) -> bool:
        found: list[str] = []
        for event in viewer.events():
            if event["type"] == "chat.pinned":
                found.append(event["pin"]["id"])
            elif event["type"] == "chat.unpinned":
                found.remove(event["pin"])
        return found == list(ids)

    await viewer.until(now)


async def snapshot_pins(site: Site, room: str = "demo") -> list[str]:
    """The ids in the snapshot of somebody who comes now."""
    viewer = await site.join("late", "overlay", room=room)
    await viewer.leave()
    return [pin["id"] for pin in viewer.welcome["room"]["pins"]]


async def test_a_message_is_pinned_for_everybody(site: Site, another_site: MakeSite) -> None:
    """On every node and in the snapshot, until staff takes it off; only staff may."""
    there = await another_site()
    host, alice = await host_of(site), await there.join("alice", codec="msgpack")
    said = await alice.ask("chat.send", text="read this")
    assert (await alice.ask("chat.pin", id=said["id"]))["reason"] == "not_allowed"
    assert (await host.ask("chat.pin", id="nothing"))["reason"] == "unknown_event"
    assert (await host.ask("chat.pin", id=said["id"]))["type"] == "ok"
    pin = (await alice.happened("chat.pinned"))["pin"]
    assert (pin["event"]["text"], pin["by"]["user_id"], pin["until_ms"]) == ("read this", "creator", None)
    assert (await host.ask("chat.pin", id=said["id"]))["type"] == "ok"  # once more changes nothing
    await eventually(lambda: _is(snapshot_pins(there), [said["id"]]), what="the pin in a snapshot")
    assert (await alice.ask("chat.unpin", id=said["id"]))["reason"] == "not_allowed"
    assert (await host.ask("chat.unpin", id=said["id"]))["type"] == "ok"
    await pinned(alice)
    assert (await host.ask("chat.unpin", id=said["id"]))["reason"] == "unknown_event"
    acts = (await there.http.get("/v1/rooms/demo/moderation")).json()["acts"]
    assert [act["act"] for act in acts] == ["chat.unpin", "chat.pin", "chat.pin"]


async def _is(found: Awaitable[list[str]], ids: list[str]) -> bool:
    return await found == ids


async def test_a_pin_ends_in_time(site: Site) -> None:
    """After its seconds any node takes it off, once."""
    host = await host_of(site)
    said = await host.ask("chat.send", text="for a moment")
    await host.ask("chat.pin", id=said["id"], seconds=1)
    assert (await host.happened("chat.pinned"))["pin"]["until_ms"] is not None
    await pinned(host)


async def test_a_deleted_message_is_not_pinned(site: Site, another_site: MakeSite) -> None:
    """Not by its id, and not if all of a person's messages are deleted."""
    await another_site()
    host, alice = await host_of(site), await site.join("alice")
    one, two = [await alice.ask("chat.send", text=text) for text in ("one", "two")]
    mine = await host.ask("chat.send", text="mine")
    for each in (one, two, mine):
        await host.ask("chat.pin", id=each["id"])
    await pinned(alice, one["id"], two["id"], mine["id"])
    await host.ask("chat.delete", ids=[one["id"]])
    await pinned(alice, two["id"], mine["id"])
    await host.ask("chat.delete", user_id="alice")
    await pinned(alice, mine["id"])


async def test_a_deleted_message_cannot_be_pinned(site: Site) -> None:
    """Neither by its id, nor if its person's messages were deleted."""
    host, alice = await host_of(site), await site.join("alice")
    one, two = [await alice.ask("chat.send", text=text) for text in ("one", "two")]
    await host.ask("chat.delete", ids=[one["id"]])
    await host.happened("chat.deleted", ids=[one["id"]])
    assert (await host.ask("chat.pin", id=one["id"]))["reason"] == "unknown_event"
    assert (await host.ask("chat.pin", id=two["id"]))["type"] == "ok"
    await host.ask("chat.delete", user_id="alice")
    await host.happened("chat.deleted", user_ids=["alice"])
    assert (await host.ask("chat.pin", id=two["id"]))["reason"] == "unknown_event"


async def test_pins_go_in_the_step_that_deletes(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that dies right after the deletion, or a store, leaves no pin."""
    monkeypatch.setattr(pins, "_unpin_deleted", lambda *_: asyncio.sleep(0))
    host, alice = await host_of(site), await site.join("alice")
    said = [await alice.ask("chat.send", text=text) for text in ("one", "two")]
    mine = await host.ask("chat.send", text="mine")
    for each in (*said, mine):
        await host.ask("chat.pin", id=each["id"])
    await pinned(alice, *(each["id"] for each in (*said, mine)))
    await host.ask("chat.delete", ids=[said[0]["id"]])
    await pinned(alice, said[1]["id"], mine["id"])
    await host.ask("chat.delete", user_id="alice")
    await pinned(alice, mine["id"])
    with stores.room.client() as store:
        assert [field for field in store.hkeys(keys.room("demo", "state")) if "pin:" in str(field)] == [
            f"pin:{mine['id']}"
        ]


async def test_a_big_gift_pins_itself(site: Site, another_site: MakeSite) -> None:
    """Once, however many nodes show it, for as long as the catalogue says; a small one does not."""
    there = await another_site()
    alice, bob = await site.join("alice"), await there.join("bob")
    await alice.gift("rose")
    await alice.gift("whale")
    pin = (await bob.happened("chat.pinned"))["pin"]
    sent = await bob.happened("gifts.sent", coins=1000)
    assert (pin["id"], pin["by"], pin["event"]["coins"]) == (sent["id"], None, 1000)
    assert pin["until_ms"] == sent["at_ms"] + 30_000
    await pinned(bob, sent["id"])


async def test_pins_have_a_bound_and_end_with_the_broadcast(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one above it is refused; the next broadcast begins without pins."""
    monkeypatch.setattr(pins, "PINS_MAX", 2)
    host = await host_of(site)
    said = [await host.ask("chat.send", text=f"text {n}") for n in range(3)]
    for each in said[:2]:
        assert (await host.ask("chat.pin", id=each["id"]))["type"] == "ok"
    assert (await host.ask("chat.pin", id=said[2]["id"]))["reason"] == "too_many_pins"
    for turn in ("end", "start"):
        await site.http.post(f"/v1/rooms/demo/{turn}")
    await eventually(lambda: _is(snapshot_pins(site), []), what="a snapshot without pins")


async def test_an_old_message_is_found_in_the_store(site: Site, another_site: MakeSite, stores: Stores) -> None:
    """A node that has just opened the room pins what was said before."""
    host = await host_of(site)
    said = await host.ask("chat.send", text="before")
    there = await host_of(await another_site())
    assert (await there.ask("chat.pin", id=said["id"]))["type"] == "ok"
    assert (await host.happened("chat.pinned"))["pin"]["event"]["seq"] == said["seq"]
