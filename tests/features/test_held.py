"""Held messages: staff decides on every node, once; what nobody decides about ends, and nobody barred is heard."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server import limits
from server.features import held
from server.rooms.automod import Automod, Label
from tests.conftest import Stores
from tests.features.test_members import host_of
from tests.site import Site, Viewer

MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture
async def strict(site: Site) -> Site:
    """The demo room holds messages with the word `bad`."""
    await site.put_room("demo", blocked_words=["bad"], automod=1)
    return site


async def hold(viewer: Viewer, text: str = "so bad", **fields: Any) -> str:
    """Say something that is held. Returns its id."""
    reply = await viewer.ask("chat.send", text=text, **fields)
    assert (reply["type"], reply.get("held")) == ("ok", True), reply
    return str(reply["id"])


async def test_categories_of_lists_are_held(site: Site, another_site: MakeSite) -> None:
    """What the site's and the host's lists say of a text, by the room's automod, on every node."""
    await site.put_room("demo", automod=2)
    await site.http.put("/v1/words", json={"phrases": {"insult": ["fool"], "spam": ["free coins"]}})
    await site.http.put("/v1/hosts/creator/words", json={"phrases": {"hate": ["grr"]}})
    there = await another_site()
    host, alice, bob = await host_of(site), await there.join("alice"), await site.join("bob")
    for viewer, text, reason, level in ((alice, "you f00l", "insult", 3), (bob, "GRR", "hate", 4)):
        held_id = await hold(viewer, text)
        said = await host.happened("chat.held", id=held_id)
        assert (said["reason"], said["level"]) == (reason, level)
    assert (await alice.ask("chat.send", text="free coins")).get("held") is None
    await host.ask("room.set", settings={"automod": 4})
    await alice.happened("room.updated")
    await alice.ask("ping")
    await hold(alice, "free coins")
    assert (await alice.ask("chat.send", text="grr"))["reason"] == "blocked_words"


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_nothing_of_a_held_message_is_lost(site: Site, another_site: MakeSite, codec: str) -> None:
    """Approved, edited or reported, it still is a reply, with its mentions and emotes."""
    await site.put_room("demo", blocked_words=["bad"], automod=1, reports_hold=1)
    wave = {"id": "wave", "code": "wave", "url": "/wave.png", "who": "everyone"}
    assert (await site.http.put("/v1/rooms/demo/emotes", json={"emotes": [wave]})).status_code == 200
    there = await another_site()
    host, alice, bob = await host_of(site), await there.join("alice", codec=codec), await there.join("bob", codec=codec)
    first = await bob.ask("chat.send", text="hello")
    await alice.happened("chat.sent", id=first["id"])
    held_id = await hold(alice, "@bob so bad :wave:", reply_to=first["id"])
    again = await hold(alice, "@bob bad :wave: too", reply_to=first["id"], edit_of=held_id)
    assert (await host.ask("chat.approve", id=again))["type"] == "ok"
    shown = await bob.happened("chat.sent", id=again)
    assert (await host.ask("chat.report", id=again))["type"] == "ok"
    reported = await host.happened("chat.held", reported=again)
    assert (await host.ask("chat.approve", id=reported["id"]))["type"] == "ok"
    second = await hold(alice, "@bob so bad :wave:")
    edited = await alice.ask("chat.send", text="@bob fine :wave: too", reply_to=first["id"], edit_of=second)
    for event in (shown, *[await bob.happened("chat.sent", id=each) for each in (reported["id"], edited["id"])]):
        assert event["reply_to"]["id"] == first["id"]
        assert [part["type"] for part in event["fragments"]] == ["mention", "text", "emote", "text"]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_staff_approves_on_another_node(strict: Site, another_site: MakeSite, codec: str) -> None:
    """Only staff sees it before; then everybody does, once, and sender and staff hear who decided."""
    there = await another_site()
    host, mod = await host_of(strict), await there.join("mod", "moderator", codec=codec)
    alice, again, bob = await strict.join("alice"), await there.join("alice"), await there.join("bob", codec=codec)
    held_id = await hold(alice)
    for viewer in (host, mod):
        said = await viewer.happened("chat.held", id=held_id)
        assert (said["text"], said["user"]["user_id"], said["reason"]) == ("so bad", "alice", "blocked_words")
        assert said["level"] == 4
    assert (await bob.ask("chat.approve", id=held_id))["reason"] == "not_allowed"
    assert (await mod.ask("chat.approve", id=held_id))["type"] == "ok"
    for viewer in (alice, bob, host):
        assert (await viewer.happened("chat.sent", id=held_id))["text"] == "so bad"
    for viewer in (alice, again, host, mod):
        told = await viewer.happened("chat.resolved", id=held_id)
        assert (told["decision"], told["by"]["user_id"]) == ("approved", "mod")
    assert not [message for message in bob.told if message["type"] in ("chat.held", "chat.resolved")]
    act = (await strict.http.get("/v1/rooms/demo/moderation")).json()["acts"][0]
    assert (act["act"], act["user_id"], act["data"]["text"]) == ("chat.approve", "alice", "so bad")


async def test_two_decide_at_once(strict: Site, another_site: MakeSite) -> None:
    """One wins; the other hears who, and what."""
    there = await another_site()
    host, mod, alice = await host_of(strict), await there.join("mod", "moderator"), await strict.join("alice")
    held_id = await hold(alice)
    await mod.happened("chat.held", id=held_id)
    replies = await asyncio.gather(host.ask("chat.approve", id=held_id), mod.ask("chat.deny", id=held_id))
    assert sorted(reply["type"] for reply in replies) == ["ok", "refused"]
    refused = next(reply for reply in replies if reply["type"] == "refused")
    told = await alice.happened("chat.resolved", id=held_id)
    assert refused["reason"] == "already_decided"
    assert (refused["by"], refused["decision"]) == (told["by"], told["decision"])
    assert (await host.ask("chat.deny", id="nothing"))["reason"] == "unknown_event"


async def test_denied_is_seen_by_nobody(strict: Site) -> None:
    """Also not by who comes later."""
    host, alice, bob = await host_of(strict), await strict.join("alice"), await strict.join("bob")
    held_id = await hold(alice)
    assert (await host.ask("chat.deny", id=held_id))["type"] == "ok"
    assert (await alice.happened("chat.resolved", id=held_id))["decision"] == "denied"
    said = await alice.ask("chat.send", text="fine")
    await bob.happened("chat.sent", id=said["id"])
    late = await strict.join("late", chats=50)
    await late.happened("chat.sent", id=said["id"])
    for viewer in (bob, late):
        assert [event["text"] for event in viewer.events("chat.sent")] == ["fine"]


async def test_who_comes_to_staff_gets_what_waits(strict: Site, another_site: MakeSite, stores: Stores) -> None:
    """At each connect, on a node that has just started, and when somebody becomes a moderator."""
    host, alice, carol = await host_of(strict), await strict.join("alice"), await strict.join("carol")
    ids = [await hold(alice), await hold(alice, "bad again")]
    there = await another_site()
    mod = await there.join("mod", "moderator", codec="msgpack")
    for held_id in ids:
        await mod.happened("chat.held", id=held_id)
    await host.ask("members.promote", user_id="carol")
    await carol.happened("chat.held", id=ids[1])
    await host.ask("chat.deny", id=ids[0])
    late = await there.join("mod", "moderator")
    await late.happened("chat.held", id=ids[1])
    assert [each["id"] for each in late.told if each["type"] == "chat.held"] == [ids[1]]


async def test_the_sender_edits_once(strict: Site) -> None:
    """A text that may be seen is sent in place of the held one; one that is held again cannot be edited again."""
    host, alice, bob = await host_of(strict), await strict.join("alice"), await strict.join("bob")
    first = await hold(alice)
    assert (await bob.ask("chat.send", text="mine", edit_of=first))["reason"] == "unknown_event"
    reply = await alice.ask("chat.send", text="so good", edit_of=first)
    assert (reply["type"], reply.get("held")) == ("ok", None)
    assert (await bob.happened("chat.sent", id=reply["id"]))["text"] == "so good"
    assert (await host.happened("chat.resolved", id=first))["decision"] == "edited"
    refused = await host.ask("chat.approve", id=first)
    assert (refused["reason"], refused["decision"], refused["by"]["user_id"]) == ("already_decided", "edited", "alice")
    second = await hold(alice)
    third = await hold(alice, "still bad", edit_of=second)
    assert (await host.happened("chat.held", id=third))["edit_of"] == second
    assert (await alice.ask("chat.send", text="fine", edit_of=third))["reason"] == "already_edited"
    assert (await host.ask("chat.approve", id=third))["type"] == "ok"
    assert (await bob.happened("chat.sent", id=third))["text"] == "still bad"


async def test_nobody_decides(strict: Site, another_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time any node closes it, once; nobody can approve it then."""
    await another_site()
    host, alice = await host_of(strict), await strict.join("alice")
    held_id = await hold(alice)
    monkeypatch.setattr(limits, "HELD_MS", 0)
    assert (await alice.happened("chat.resolved", id=held_id))["decision"] == "expired"
    refused = await host.ask("chat.approve", id=held_id)
    assert (refused["reason"], refused["decision"], refused["by"]) == ("already_decided", "expired", None)
    assert len([each for each in host.told if each["type"] == "chat.resolved"]) == 1


@pytest.mark.parametrize("verb", ["mute", "ban", "hide"])
async def test_nothing_of_the_barred_waits(strict: Site, another_site: MakeSite, verb: str) -> None:
    """Who may not chat any longer has nothing that staff could approve."""
    there = await another_site()
    host, alice = await host_of(strict), await there.join("alice")
    held_id = await hold(alice)
    await host.happened("chat.held", id=held_id)
    await host.ask(f"members.{verb}", user_id="alice")
    assert (await host.happened("chat.resolved", id=held_id))["decision"] == "denied"
    assert (await host.ask("chat.approve", id=held_id))["reason"] == "already_decided"


async def test_deleting_all_of_a_person_denies_what_is_held(strict: Site) -> None:
    """And nothing of others."""
    host, alice, bob = await host_of(strict), await strict.join("alice"), await strict.join("bob")
    hers, his = await hold(alice), await hold(bob)
    await host.ask("chat.delete", user_id="alice")
    assert (await host.happened("chat.resolved", id=hers))["decision"] == "denied"
    assert (await host.ask("chat.approve", id=his))["type"] == "ok"


async def test_held_messages_have_bounds(strict: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many of one person, and of the room; then one waits. Decisions are forgotten above theirs."""
    host, alice, bob = await host_of(strict), await strict.join("alice"), await strict.join("bob")
    ids = [await hold(alice, f"bad {n}") for n in range(limits.HELD_OF_ONE_MAX)]
    refused = await alice.ask("chat.send", text="bad 4")
    assert (refused["reason"], refused["retry_after_ms"]) == ("rate_limited", limits.HELD_RETRY_MS)
    monkeypatch.setattr(limits, "HELD_MAX", limits.HELD_OF_ONE_MAX)
    assert (await bob.ask("chat.send", text="bad"))["reason"] == "rate_limited"
    monkeypatch.setattr(limits, "DECIDED_MAX", 1)
    for held_id in ids[:2]:
        await host.ask("chat.deny", id=held_id)
    assert (await host.ask("chat.deny", id=ids[0]))["reason"] == "unknown_event"
    assert (await host.ask("chat.deny", id=ids[1]))["reason"] == "already_decided"


async def test_a_muted_person_is_told_so(strict: Site) -> None:
    """What would be held is refused as any other."""
    host, alice = await host_of(strict), await strict.join("alice")
    await host.ask("members.mute", user_id="alice", seconds=60)
    reply = await alice.ask("chat.send", text="so bad")
    assert (reply["reason"], 0 < reply["retry_after_ms"] <= 60_000) == ("muted", True)
    await host.ask("members.unmute", user_id="alice")
    await host.ask("members.warn", user_id="alice", text="Please")
    assert (await alice.ask("chat.send", text="so bad"))["reason"] == "warned"


async def test_a_hidden_person_notices_nothing(strict: Site) -> None:
    """Their message goes where all of theirs goes: to themselves and, marked, to staff."""
    host, alice = await host_of(strict), await strict.join("alice")
    await host.ask("members.hide", user_id="alice")
    reply = await alice.ask("chat.send", text="so bad")
    assert (reply["type"], reply.get("held")) == ("ok", None)
    assert (await host.happened("chat.sent", id=reply["id"]))["hidden"] is True


class Says:
    """A classifier: the digit at the end of a text is its level."""

    async def labels(self, _room: object, text: str) -> list[Label]:
        return [Label("spam", int(text[-1]))] if text[-1].isdigit() else []


async def test_another_classifier(strict: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its category is the reason. Staff's own messages are never held."""
    monkeypatch.setattr(held, "AUTOMOD", Automod(Says()))
    alice, host = await strict.join("alice"), await host_of(strict)
    assert (await alice.ask("chat.send", text="spam 3")).get("held") is None
    held_id = await hold(alice, "spam 4")
    said = await host.happened("chat.held", id=held_id)
    assert (said["reason"], said["level"]) == ("spam", 4)
    assert (await host.ask("chat.send", text="spam 4")).get("held") is None
