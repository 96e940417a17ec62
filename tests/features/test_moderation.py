"""Moderation: the stream of what staff does, and messages that staff takes away."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import websockets

import protocol
from protocol.closes import Close
from server.journal.people import Standing, Version
from tests.features.test_members import host_of
from tests.site import Site, Viewer
from tests.test_docs import ROOT, code_in, rows

MakeSite = Callable[..., Awaitable[Site]]


async def test_staff_sees_what_staff_does(site: Site, another_site: MakeSite) -> None:
    """Live on every node and over HTTP, newest first; nobody else gets it."""
    there = await another_site()
    host, mod = await host_of(site), await there.join("mod", "moderator", codec="msgpack")
    alice = await there.join("alice")
    await host.ask("members.mute", user_id="bob", seconds=30, reason="loud")
    await host.ask("members.hide", user_id="carol")
    for viewer in (host, mod):
        said = await viewer.happened("moderation.acted", act="members.mute")
        assert (said["user_id"], said["reason"], said["data"]) == ("bob", "loud", {"seconds": 30})
        assert (await viewer.happened("moderation.acted", act="members.hide"))["by"]["user_id"] == "creator"
    await host.ask("chat.send", text="done")
    await alice.happened("chat.sent", text="done")
    assert alice.events("moderation.acted") == [m for m in alice.told if m["type"] == "moderation.acted"] == []
    stream = (await there.http.get("/v1/rooms/demo/moderation")).json()
    assert [act["act"] for act in stream["acts"]] == ["members.hide", "members.mute"]
    first = (await there.http.get("/v1/rooms/demo/moderation", params={"limit": 1})).json()
    rest = (await there.http.get(f"/v1/rooms/demo/moderation?{first['next']}")).json()
    assert [act["act"] for act in first["acts"] + rest["acts"]] == ["members.hide", "members.mute"]
    assert (await site.http.get("/v1/rooms/nowhere/moderation")).status_code == 404
    assert (await site.http.get("/v1/rooms/demo/moderation", headers={"Authorization": ""})).status_code == 401


def shown(viewer: Viewer) -> list[str]:
    """The chat as a client shows it."""
    chats: list[dict[str, Any]] = []
    for event in viewer.events():
        if event["type"] == "chat.sent":
            chats.append(event)
        elif event["type"] == "chat.deleted":
            gone = (set(event["ids"]), set(event["user_ids"]))
            chats = [chat for chat in chats if chat["id"] not in gone[0] and chat["user"]["user_id"] not in gone[1]]
    return [chat["text"] for chat in chats]


async def test_deleted_messages(site: Site, another_site: MakeSite) -> None:
    """Everybody hears which, or whose; newcomers do not get them."""
    there = await another_site()
    host, alice, bob = await host_of(site), await there.join("alice"), await site.join("bob")
    one, _, three = [await alice.ask("chat.send", text=text) for text in ("one", "two", "three")]
    kept = await bob.ask("chat.send", text="kept")
    assert (await bob.ask("chat.delete", ids=[one["id"]]))["reason"] == "not_allowed"
    assert (await host.ask("chat.delete", ids=[]))["reason"] == "bad_command"
    assert (await host.ask("chat.delete", ids=[one["id"]]))["type"] == "ok"
    event = await alice.happened("chat.deleted", ids=[one["id"]])
    assert (event["user_ids"], event["by"]["user_id"]) == ([], "creator")
    late = await there.join("late", chats=50)
    await late.until(lambda _: shown(late) == ["two", "three", "kept"])
    assert (await host.ask("chat.delete", user_id="alice", reason="spam"))["type"] == "ok"
    assert (await bob.happened("chat.deleted", ids=[]))["user_ids"] == ["alice"]
    later = await site.join("later", chats=50)
    await later.until(lambda _: shown(later) == ["kept"])
    assert (await bob.happened("chat.sent", id=kept["id"]))["text"] == "kept"
    assert three["seq"] < event["seq"]


FIELDS: dict[str, dict[str, Any]] = {  # what a command needs beside a person or an id
    "chat.send": {"text": "hello"},
    "likes.send": {"count": 1},
    "members.warn": {"user_id": "target", "text": "calm"},
    "members.list": {},
    "room.set": {"title": "New"},
    **{f"room.{verb}": {} for verb in ("start", "pause", "resume", "end")},
}


def permissions() -> list[tuple[str, list[str]]]:
    """Each act of the wire's table, and what it says of viewer, moderator, host and site."""
    table = rows((ROOT / "protocol/docs/moderation.md").read_text(), "act")
    return [(act, says) for acts, *says in table for act in code_in(acts)]


async def test_the_table_of_permissions(site: Site) -> None:
    """Each act by each role is refused, or not, as the wire's table says; it has everything that staff does."""
    host = await host_of(site)
    await host.ask("members.promote", user_id="roommod")
    roles = [await site.join("viewer"), await site.join("roommod"), host, await site.join("site", "moderator")]
    for act, says in permissions():
        if act == "room.end":
            continue  # it closes the sockets: below
        fields = FIELDS.get(act, {"user_id": "target"} if act.startswith("members.") else {"id": "nothing"})
        fields = {"ids": ["nothing"]} if act == "chat.delete" else fields
        refused = [(await role.ask(act, **fields)).get("reason") == "not_allowed" for role in roles]
        assert ["no" if each else "yes" for each in refused] == says, act
    (says,) = [says for act, says in permissions() if act == "room.end"]
    replies = [(await role.ask("room.end")).get("reason") == "not_allowed" for role in roles[:3]]
    assert ["no" if each else "yes" for each in replies] == says[:3]
    said = {act for act, _ in permissions()} | {"members.acknowledge"}
    assert {tag for tag in protocol.COMMANDS if tag.startswith(("chat.", "members.", "room."))} <= said


async def test_who_is_banned_may_nothing(site: Site, another_site: MakeSite) -> None:
    """Even the host, whom the platform banned: neither with a socket that is still open nor with a new one.

    They read until when, and why.
    """
    there = await another_site()
    host = await host_of(site)
    (member,) = [one for room in site.node.rooms.here() for one in room.members if one.user_id == "creator"]
    room = member.room
    until_ms = room.services.clock.now_ms() + 60_000
    room.know_person("creator", Version(99, Standing(banned_until_ms=until_ms)))  # before the socket is closed
    for act in ("room.pause", "room.end"):
        assert (await host.ask(act))["reason"] == "not_allowed"
    assert (await host.ask("members.mute", user_id="alice"))["reason"] == "not_allowed"
    banned = await there.http.post("/v1/rooms/demo/members/creator/ban", json={"seconds": 60, "reason": "fraud"})
    assert banned.status_code == 200
    assert await host.closed() == Close.BANNED
    with pytest.raises(websockets.InvalidStatus) as refused:
        await host_of(there)
    error = json.loads(refused.value.response.body or b"")["error"]
    assert (error["reason"], error["why"]) == ("banned", "fraud")
    assert 0 < error["until_ms"] - room.services.clock.now_ms() <= 60_000
    assert (await there.http.post("/v1/rooms/demo/members/creator/ban", json={})).status_code == 200
    with pytest.raises(websockets.InvalidStatus) as refused:
        await host_of(there)
    error = json.loads(refused.value.response.body or b"")["error"]
    assert (error["until_ms"], error["why"]) == (None, "")


def test_the_stream_is_only_appended_to() -> None:
    """No statement of the program changes or deletes a row, but for noting that its room was told."""
    changing: list[str] = []
    for path in sorted((ROOT / "server").rglob("*.py")):
        text = path.read_text()
        changing += re.findall(r"\b(?:update|delete)\(moderation\)[^\n]*", text)
        changing += re.findall(r"(?i)\b(?:update|delete from|truncate)\s+moderation\b[^\n]*", text)
    assert changing == ["update(moderation).where(moderation.c.id == act_id).values(told=1))"]
