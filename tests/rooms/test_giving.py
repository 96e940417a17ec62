"""What may be given, to whom, and what the others see of it: limits of gifts, messages, test gifts, stamps."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from server.tokens import Facts
from tests.conftest import Stores
from tests.features.test_members import host_of
from tests.site import Site, Viewer

MakeSite = Callable[..., Awaitable[Site]]


async def joined(site: Site, user: str = "alice", **facts: Any) -> Viewer:
    """Somebody of whom the host platform knows this."""
    exp_s = site.node.clock.now_ms() / 1000 + 600
    token = site.node.tokens.sign(sub=user, name=user, role="viewer", exp_s=exp_s, facts=Facts(**facts))
    return await site.join(user, token=token)


async def end(viewer: Viewer) -> None:
    """Wait until everything that happened so far has come."""
    said = await viewer.ask("chat.send", text="that is all")
    await viewer.happened("chat.sent", id=said["id"])


# --- who may give what ---------------------------------------------------------------------------------------------
LIMITS: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({}, {}, None),
    ({"regions": ("DE", "FR")}, {"region": "FR"}, None),
    ({"regions": ("DE", "FR")}, {"region": "US"}, "region_not_allowed"),
    ({"regions": ("DE", "FR")}, {}, "region_not_allowed"),
    ({"adult": True}, {"adult": True}, None),
    ({"adult": True}, {}, "adults_only"),
    ({"min_level": 5}, {"level": 5}, None),
    ({"min_level": 5}, {"level": 4}, "level_too_low"),
    ({"min_level": 1}, {}, "level_too_low"),
]


@pytest.mark.parametrize(("limit", "facts", "reason"), LIMITS)
async def test_a_gifts_limits(site: Site, limit: dict[str, Any], facts: dict[str, Any], reason: str | None) -> None:
    """Each is compared with the facts of the token; what the token does not say is not so."""
    catalogue = site.node.services.catalogue
    rose = catalogue.get("rose")
    assert rose is not None
    catalogue.use([msgspec.structs.replace(rose, **limit)])
    alice = await joined(site, **facts)
    reply = await alice.gift("rose")
    assert reply.get("reason") == reason
    if reason == "level_too_low":
        assert (reply["need"], reply["have"]) == (limit["min_level"], facts.get("level", 0))
    assert await site.coins("alice") == (9_999 if reason is None else 10_000)


# --- messages ------------------------------------------------------------------------------------------------------
async def test_a_small_gift_takes_no_message(site: Site) -> None:
    """A message below the room's price is refused before anything is paid; without one the gift is fine."""
    await site.put_room("r", gift_min_coins_message=10)
    alice = await site.join("alice", room="r")
    assert alice.welcome["room"]["settings"]["gift_min_coins_message"] == 10
    reply = await alice.gift("rose", 9, message="hello")
    assert (reply["reason"], reply["need"]) == ("message_needs_coins", 10)
    assert (await alice.gift("rose", 9))["coins"] == 9_991
    assert (await alice.gift("rose", 10, message="hello"))["coins"] == 9_981
    await alice.happened("gifts.sent", message="hello", coins=10)


async def test_a_paid_message_stays_paid(site: Site) -> None:
    """Once paid, a repeat is a duplicate, whatever the room asks for since."""
    alice = await site.join("alice")
    first = await alice.gift("rose", message="hello")
    settings = {"settings": {"gift_min_coins_message": 10}}
    (await site.http.patch("/v1/rooms/demo", json=settings)).raise_for_status()
    await alice.happened("room.updated")
    again = await alice.gift("rose", id=first["id"], message="hello")
    assert (again["type"], again["duplicate"]) == ("ok", True)


async def test_a_blocked_message_is_left_out(site: Site, another_site: MakeSite) -> None:
    """The gift is paid and shown without it, its sender hears why, and a repeat is the same gift."""
    there = await another_site()
    await site.put_room("r", blocked_words=["spam"])
    alice, bob = await site.join("alice", room="r"), await there.join("bob", room="r", codec="msgpack")
    first = await alice.gift("rose", message="buy S\u00adPAM now")
    assert (first["type"], first["message_left_out"], first["coins"]) == ("ok", "blocked_words", 9_999)
    assert (await bob.happened("gifts.sent", id=first["id"]))["message"] is None
    again = await alice.gift("rose", id=first["id"], message="buy S\u00adPAM now")
    assert (again["duplicate"], again["message_left_out"]) == (True, "blocked_words")
    fine = await alice.gift("rose", message="with love")
    assert fine["message_left_out"] is None
    assert (await bob.happened("gifts.sent", id=fine["id"]))["message"] == "with love"
    host = await site.join("creator", token=site.token("creator", "host", room="r"), room="r")
    await end(host)
    assert "spam" not in str([message for message in bob.told]).casefold()


@pytest.mark.parametrize(
    ("command", "fields", "told"),
    [
        ("members.mute", {"seconds": 60}, "muted"),
        ("members.warn", {"text": "be kind"}, "warned"),
        ("members.hide", {}, None),
    ],
)
async def test_who_may_not_chat_gives_without_words(
    site: Site, another_site: MakeSite, command: str, fields: dict[str, Any], told: str | None
) -> None:
    """Nobody buys a way around a mute, a warning or being hidden. Who is hidden is not told."""
    there = await another_site()
    host, alice, bob = await host_of(site), await there.join("alice"), await site.join("bob")
    mod = await there.join("mod", "moderator")
    assert (await host.ask(command, user_id="alice", **fields))["type"] == "ok"
    await mod.happened("moderation.acted", act=command)  # then their node knows it
    reply = await alice.gift("rose", message="hello")
    assert (reply["type"], reply["message_left_out"]) == ("ok", told)
    assert (await bob.happened("gifts.sent", id=reply["id"]))["message"] is None


# --- test gifts ----------------------------------------------------------------------------------------------------
async def test_a_test_gift(site: Site, another_site: MakeSite, stores: Stores) -> None:
    """Staff and overlays on every node get it, without a seq. Nobody pays, and nobody else gets it."""
    there = await another_site()
    host, alice = await host_of(site), await site.join("alice")
    screen, mod = await there.join("screen", "overlay", codec="msgpack"), await there.join("mod", "moderator")
    bob = await there.join("bob")
    assert (await host.ask("gifts.test", gift="whale", count=3))["type"] == "ok"
    for viewer in (host, screen, mod):
        event = await viewer.happened("gifts.sent", test=True)
        assert (event["gift"]["id"], event["count"], event["coins"]) == ("whale", 3, 3_000)
        assert (event["from"]["user_id"], event["to"]["user_id"]) == ("creator", "creator")
        assert event["at_ms"] > 0
        assert "seq" not in event
    for viewer in (alice, bob):
        await end(viewer)
        assert "whale" not in str(viewer.told)
    late = await site.join("late", "overlay")
    assert (late.welcome["room"]["coins"], late.welcome["room"]["top"]) == (0, [])
    await site.settled()
    for user, kinds in (("creator", []), ("alice", ["topup"])):
        entries = (await site.http.get(f"/v1/wallets/{user}/entries")).json()["entries"]
        assert [entry["kind"] for entry in entries] == kinds


async def test_a_test_gift_is_the_hosts(site: Site) -> None:
    """No moderator of theirs may, and it is of the catalogue. The room need not be live."""
    host, bob = await host_of(site), await site.join("bob")
    await host.ask("members.promote", user_id="bob")
    await bob.happened("members.promoted")
    for viewer in (bob, await site.join("alice"), await site.join("screen", "overlay")):
        assert (await viewer.ask("gifts.test", gift="rose"))["reason"] == "not_allowed"
    assert (await host.ask("gifts.test", gift="unicorn"))["reason"] == "unknown_gift"
    assert (await host.ask("gifts.test", gift="rose", count=0))["reason"] == "bad_command"
    await site.http.post("/v1/rooms/demo/pause")
    assert (await host.ask("gifts.test", gift="rose"))["type"] == "ok"


# --- stamps --------------------------------------------------------------------------------------------------------
async def test_a_gift_says_when_it_came_and_was_paid(site: Site) -> None:
    """The stages are in order, with a streak and without."""
    alice = await site.join("alice")
    for combo in ({}, {"combo": "c"}):
        reply = await alice.gift("rose", **combo)
        event = await alice.happened("gifts.sent", id=reply["id"])
        assert 0 < event["received_at_ms"] <= event["settled_at_ms"]
        assert event["settled_at_ms"] - event["at_ms"] < 2_000
