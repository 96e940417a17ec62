"""Ping, and what applies to every command: one reply, its ref, and who may send it."""

import time

import pytest

from tests.site import Site, new_gift_id


async def test_the_servers_clock(site: Site) -> None:
    """Everybody gets the server's time, even in a room that is not live."""
    await site.put_room("dark", live=False)
    for role in ("viewer", "moderator", "host", "overlay", "bot"):
        for codec in ("json", "msgpack"):
            someone = await site.join("someone", role, room="dark", codec=codec)
            before_ms = int(time.time() * 1000)
            reply = await someone.ask("ping", ref="p")
            assert before_ms <= reply.pop("server_time_ms") <= int(time.time() * 1000)
            assert reply == {"type": "ok", "ref": "p"}


async def test_an_overlay_only_listens(site: Site) -> None:
    """Whatever it sends except ping is not_allowed, and it goes on listening."""
    overlay, alice = await site.join("alice", "overlay"), await site.join("alice")
    assert overlay.welcome["you"]["coins"] is None
    commands = {
        "chat.send": {"text": "hi"},
        "gifts.send": {"id": new_gift_id(), "gift": "rose", "count": 1},
        "likes.send": {"count": 1},
    }
    for type_, fields in commands.items():
        reply = await overlay.ask(type_, **fields)
        assert (reply["type"], reply["reason"]) == ("refused", "not_allowed"), type_
    reply = await alice.ask("chat.send", text="hello")
    await overlay.happened("chat.sent", id=reply["id"])
    assert overlay.events("gifts.sent") == []
    assert len(overlay.events("chat.sent")) == 1
    assert await site.coins("alice") == 10_000


async def test_refs(site: Site) -> None:
    """A ref of 1 to 64 characters comes back unchanged; any other is a bad command without a ref."""
    alice = await site.join("alice")
    for ref in ("a", "x" * 64, "ünï ❄️", '"\\'):
        assert (await alice.ask("ping", ref=ref))["type"] == "ok"
    for ref in ("", "x" * 65, 7, [], {"a": 1}, True):
        before = len(alice.told)
        await alice.tell({"type": "ping", "ref": ref})
        await alice.ask("ping")
        refusal = next(m for m in alice.told[before:] if m["type"] == "refused")
        assert (refusal["ref"], refusal["reason"]) == (None, "bad_command"), ref
    last = await alice.ask("ping", ref="a")
    assert last["type"] == "ok"


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_each_command_has_one_reply(site: Site, codec: str) -> None:
    """In a frame of several commands the good ones are carried out.

    Unknown types and fields are refused by their refs.
    """
    alice = await site.join("alice", codec=codec)
    await alice.tell(
        [
            {"type": "ping", "ref": "1"},
            {"type": "no.such", "ref": "2"},
            {"type": "ping", "ref": "3", "more": 1},
            {"ref": "4"},
            {"type": "ping", "ref": "5"},
        ]
    )
    await alice.tell({"type": "ping", "ref": "end"})
    await alice.happened("ok", ref="end")
    await alice.happened("ok", ref="5")
    replies = {m["ref"]: m.get("reason") for m in alice.told if m["type"] in ("ok", "refused")}
    assert replies == {"1": None, "2": "bad_command", "3": "bad_command", "4": "bad_command", "5": None, "end": None}
    assert len([m for m in alice.told if m["type"] in ("ok", "refused")]) == len(replies)
