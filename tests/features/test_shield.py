"""The shield: one switch makes a room strict on every node, and off, all is as it was set."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server import limits
from server.tokens import Facts
from tests.features.test_members import host_of
from tests.site import Site, Viewer

MakeSite = Callable[..., Awaitable[Site]]


async def with_facts(site: Site, user: str, **facts: Any) -> Viewer:
    """A viewer whose token has these facts."""
    token = site.node.tokens.sign(sub=user, name=user, role="viewer", exp_s=time.time() + 600, facts=Facts(**facts))
    return await site.join(user, token=token)


async def settings_of(site: Site) -> dict[str, Any]:
    """The settings as the host platform has set them."""
    return dict((await site.http.get("/v1/rooms/demo")).json()["settings"])


async def test_the_shield_raises_the_others_and_puts_them_back(site: Site, another_site: MakeSite) -> None:
    """On every node. What was stricter stays; what somebody sets meanwhile counts when it is off again."""
    await site.put_room("demo", unique_chat_s=300, blocked_words=["bad"])
    there = await another_site()
    host, alice, bob = await host_of(site), await there.join("alice", codec="msgpack"), await there.join("bob")
    before = await settings_of(site)
    assert (await alice.ask("chat.send", text="one"))["type"] == "ok"
    assert (await alice.ask("chat.send", text="two"))["type"] == "ok"
    assert (await host.ask("room.set", settings={"shield": True}))["type"] == "ok"
    shown = (await bob.happened("room.updated"))["settings"]
    assert (shown["shield"], shown["slow_mode_s"]) == (True, limits.SHIELD_SLOW_S)
    assert shown["unique_chat_s"] == 300
    assert (await bob.ask("chat.send", text="three"))["type"] == "ok"
    assert (await bob.ask("chat.send", text="four"))["reason"] == "slow_mode"
    assert (await settings_of(site)) == {**before, "shield": True}
    again = await another_site()
    late = await again.join("late")
    assert late.welcome["room"]["settings"]["slow_mode_s"] == limits.SHIELD_SLOW_S
    await host.ask("room.set", settings={"slow_mode_s": 2})
    await host.ask("room.set", settings={"shield": False})
    shown = (await late.happened("room.updated", settings={**shown, "shield": False, "slow_mode_s": 2}))["settings"]
    assert shown["slow_mode_s"] == 2
    assert (await settings_of(site)) == {**before, "slow_mode_s": 2}


@pytest.mark.parametrize(
    ("facts", "ago_ms", "shielded"),
    [
        ("account_since_ms", limits.SHIELD_ACCOUNT_MS - 60_000, True),
        ("account_since_ms", limits.SHIELD_ACCOUNT_MS + 60_000, False),
        ("follower_since_ms", limits.SHIELD_FOLLOWED_MS - 60_000, True),
        ("follower_since_ms", limits.SHIELD_FOLLOWED_MS + 60_000, False),
    ],
)
async def test_who_is_new_cannot_chat(site: Site, facts: str, ago_ms: int, shielded: bool) -> None:
    """By the token's facts; staff can, and off, everybody can."""
    await site.put_room("demo", shield=True)
    host, alice = await host_of(site), await with_facts(site, "alice", **{facts: int(time.time() * 1000) - ago_ms})
    reply = await alice.ask("chat.send", text="hello")
    assert reply.get("reason") == ("shielded" if shielded else None)
    if shielded:
        assert 0 < reply["retry_after_ms"] <= 60_000
    assert (await host.ask("chat.send", text="hello"))["type"] == "ok"
    await host.ask("room.set", settings={"shield": False})
    await alice.happened("room.updated")
    assert (await alice.ask("chat.send", text="hello"))["type"] == "ok"


async def test_who_stays_under_the_shield(site: Site) -> None:
    """Nobody says the same twice, and the room's words are refused, as automod 3 does. Who is new is refused first."""
    await site.put_room("demo", blocked_words=["bad"], automod=1, shield=True)
    assert (limits.SHIELD_AUTOMOD, limits.SHIELD_UNIQUE_S) == (3, 60)
    alice = await site.join("alice")
    assert (await alice.ask("chat.send", text="bad"))["reason"] == "blocked_words"
    dave = await with_facts(site, "dave", account_since_ms=int(time.time() * 1000))
    assert (await dave.ask("chat.send", text="bad"))["reason"] == "shielded"
