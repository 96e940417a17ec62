"""Moderation: the stream of what staff does, and messages that staff takes away."""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.features.test_members import host_of
from tests.site import Site, Viewer

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
