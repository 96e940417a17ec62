"""Chat in a room with rules: who may say what, replies, mentions, and what hidden people see of themselves."""

import itertools
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server import limits
from server.tokens import Facts
from tests.site import Site, Viewer

# --- who may chat, and what --------------------------------------------------------------------------------------
DAY_MS = 86_400_000
PEOPLE: dict[str, tuple[str, dict[str, int]]] = {  # age in days
    "nobody": ("viewer", {}),
    "new": ("viewer", {"follower_since_ms": 1}),
    "old": ("viewer", {"follower_since_ms": 30}),
    "member": ("viewer", {"club_since_ms": 1}),
    "mia": ("moderator", {}),
}
TEXTS = {"plain": "hello", "link": "see example.com", "emoji": "🎉", "again": "🎉", "word": "darn"}
WHO = {  # what each setting alone says to each person
    "chat_for=everyone": {},
    "chat_for=followers": {"nobody": "followers_only"},
    "chat_for=club": dict.fromkeys(("nobody", "new", "old"), "club_only"),
    "chat_for=staff": dict.fromkeys(("nobody", "new", "old", "member"), "chat_off"),
    "chat=false": dict.fromkeys(("nobody", "new", "old", "member"), "chat_off"),
}
WHAT: dict[str, dict[str, str]] = {  # and to each text, in the order in which they are checked
    "emotes_only=true": dict.fromkeys(("plain", "link", "word"), "emotes_only"),
    "links=false": {"link": "links_off"},
    'blocked_words=["darn"]': {"word": "blocked_words"},
    "unique_chat_s=60": {"again": "duplicate_text"},
}


def of(setting: str) -> dict[str, Any]:
    name, _, value = setting.partition("=")
    return {name: value if value in ("everyone", "followers", "club", "staff") else json.loads(value)}


async def people_of(site: Site, room: str) -> dict[str, Viewer]:
    """One of each kind in the room."""
    now_ms, found = int(time.time() * 1000), {}
    for user, (role, days) in PEOPLE.items():
        facts = Facts(**{name: now_ms - age * DAY_MS for name, age in days.items()})
        token = site.node.tokens.sign(sub=user, name=user, role=role, exp_s=4e9, facts=facts)  # type: ignore[arg-type]
        found[user] = await site.join(room=room, token=token)
    return found


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("what", [*WHAT, *map(" ".join, itertools.combinations(WHAT, 2))])
async def test_each_pair_of_settings(site: Site, who: str, what: str) -> None:
    """Each refuses what it refuses alone, and nothing else; who may not chat hears that first. Staff may say all."""
    settings = of(who)
    for each in what.split(" "):
        settings |= of(each)
    await site.put_room("strict", **settings)
    for user, person in (await people_of(site, "strict")).items():
        for name, text in TEXTS.items():
            wrong = (WHAT[each].get(name) for each in WHAT if each in what.split(" "))
            wanted = "ok" if user == "mia" else WHO[who].get(user) or next(filter(None, wrong), "ok")
            reply = await person.ask("chat.send", text=text)
            assert reply.get("reason", "ok") == wanted, (user, name)


@pytest.mark.parametrize("who", WHO)
async def test_slow_mode_beside_each_setting(site: Site, who: str) -> None:
    """Who may chat must wait then; who may not hears why."""
    await site.put_room("strict", slow_mode_s=60, **of(who))
    for user, person in (await people_of(site, "strict")).items():
        said = [(await person.ask("chat.send", text=text)).get("reason", "ok") for text in ("one", "two")]
        refused = WHO[who].get(user)
        assert said == (["ok", "ok"] if user == "mia" else [refused] * 2 if refused else ["ok", "slow_mode"]), user


async def test_followers_must_have_followed_for_a_while(site: Site) -> None:
    """They learn how long it still takes; the club and staff need not wait, and others need not follow for long."""
    await site.put_room("strict", chat_for="followers", followers_min_age_s=7 * 86_400)
    people = await people_of(site, "strict")
    said = {user: await person.ask("chat.send", text="hello") for user, person in people.items()}
    reasons = {user: reply.get("reason", "ok") for user, reply in said.items()}
    assert reasons == {"nobody": "followers_only", "new": "too_young", "old": "ok", "member": "ok", "mia": "ok"}
    assert 5.9 * DAY_MS < said["new"]["retry_after_ms"] <= 6 * DAY_MS
    await site.put_room("free", followers_min_age_s=7 * 86_400)
    assert (await (await people_of(site, "free"))["nobody"].ask("chat.send", text="hello"))["type"] == "ok"


# --- replies and mentions ----------------------------------------------------------------------------------------
async def test_a_reply_and_a_mention(site: Site, another_site: Callable[[], Awaitable[Site]]) -> None:
    """On all nodes and in both codecs; a plain message has neither field."""
    there = await another_site()
    alice, bob = await site.join("alice"), await there.join("bob", codec="msgpack")
    first = await alice.ask("chat.send", text="hello")
    plain = await bob.happened("chat.sent", id=first["id"])
    assert not {"reply_to", "fragments"} & plain.keys()
    reply = await bob.ask("chat.send", text="@alice hi!", reply_to=first["id"])
    for viewer in (alice, bob):
        event = await viewer.happened("chat.sent", id=reply["id"])
        assert event["reply_to"] == {"id": first["id"], "user": plain["user"], "text": "hello"}
        assert event["fragments"] == [
            {"type": "mention", "text": "@alice", "user_id": "alice"},
            {"type": "text", "text": " hi!"},
        ]


async def test_what_cannot_be_replied_to(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is unknown, deleted, of a person whose messages were deleted, no chat, or too old."""
    alice, host = await site.join("alice"), await site.join("creator")
    ids = [(await alice.ask("chat.send", text=f"line {n}"))["id"] for n in range(2)]
    assert (await alice.ask("chat.send", text="r", reply_to=ids[0]))["type"] == "ok"
    gift = await alice.gift("rose")
    await alice.happened("gifts.sent", id=gift["id"])
    await host.ask("chat.delete", ids=ids[:1])
    await alice.happened("chat.deleted")
    for unknown in ("nothing", ids[0], gift["id"]):
        assert (await alice.ask("chat.send", text="r", reply_to=unknown))["reason"] == "unknown_event"
    assert (await alice.ask("chat.send", text="r", reply_to=ids[1]))["type"] == "ok"
    await host.ask("chat.delete", user_id="alice")
    await alice.happened("chat.deleted", user_ids=["alice"])
    assert (await alice.ask("chat.send", text="r", reply_to=ids[1]))["reason"] == "unknown_event"
    newer = (await alice.ask("chat.send", text="newer"))["id"]
    await alice.happened("chat.sent", id=newer)
    assert (await alice.ask("chat.send", text="r", reply_to=newer))["type"] == "ok"
    monkeypatch.setattr(limits, "REPLY_LOOK_BACK", 0)
    assert (await alice.ask("chat.send", text="r", reply_to=newer))["reason"] == "unknown_event"


# --- hidden people -----------------------------------------------------------------------------------------------
async def test_a_hidden_person_after_a_reload(site: Site, another_site: Callable[[], Awaitable[Site]]) -> None:
    """They get their own messages again, on any node. A control viewer's frames differ from those of before by nothing.

    Between the hidden person's frames and the control's the allowed differences are: their own messages, which have no
    seq; who they are (`you`); and the moment (`server_time_ms`).
    """
    there = await another_site()
    host, troll = await site.join("creator"), await site.join("troll")
    await host.ask("chat.send", text="one")
    await host.ask("members.hide", user_id="troll")
    own = [(await troll.ask("chat.send", text=text))["id"] for text in ("grr", "gnarl")]
    await troll.happened("chat.sent", id=own[-1])
    said = await host.ask("chat.send", text="two")
    for node, codec in ((site, "json"), (there, "msgpack")):
        again, control = [await node.join(user, codec=codec, chats=9) for user in ("troll", "bob")]
        await again.until(lambda told: sum(m["type"] == "chat.sent" for m in told) == 4)
        await control.happened("chat.sent", id=said["id"])
        assert [(m["id"], m["replayed"]) for m in again.told if m["type"] == "chat.sent" and "seq" not in m] == [
            (id, True) for id in own
        ]
        for viewer in (again, control):
            await viewer.ask("ping")
        assert frames(again, *own) == frames(control)
        assert "troll" not in str([m for m in control.told if m["type"] == "chat.sent"])
    nobody = await there.join("troll")
    await nobody.ask("ping")
    assert not [m for m in nobody.told if m["type"] == "chat.sent"]  # who asks for none gets none
    await host.ask("chat.delete", user_id="troll")
    await troll.happened("chat.deleted")
    assert await own_of(there) == []
    await troll.ask("chat.send", text="more")
    assert await own_of(there) == ["more"]
    for verb in ("end", "start"):
        await site.http.post(f"/v1/rooms/demo/{verb}")
    await (await site.join("bob")).ask("ping")
    await there.join("bob")
    assert await own_of(there) == []


async def own_of(site: Site) -> list[str]:
    """The texts without seq that the hidden person gets when they come back."""
    viewer = await site.join("troll", chats=9)
    await viewer.ask("ping")
    return [message["text"] for message in viewer.told if message["type"] == "chat.sent" and "seq" not in message]


def frames(viewer: Viewer, *own: str) -> list[dict[str, Any]]:
    """What somebody was told, without the allowed differences, and without counts, which come when they come."""
    kept = [
        m for m in viewer.told if m.get("id") not in own and m["type"] not in ("viewers.counted", "ok", "heartbeat")
    ]
    gone = ("you", "server_time_ms", "room")
    return [{name: value for name, value in m.items() if m["type"] != "welcome" or name not in gone} for m in kept]
