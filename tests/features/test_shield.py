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


def days_ago(days: float) -> int:
    return int((time.time() - days * 86_400) * 1000)


RAISED = {
    "chat_for": "followers",
    "followers_min_age_s": limits.SHIELD_FOLLOWED_S,
    "links": False,
    "slow_mode_s": limits.SHIELD_SLOW_S,
    "unique_chat_s": limits.SHIELD_UNIQUE_S,
}
# What a room has set, and what of it counts under the shield.
OWN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, RAISED),
    ({"chat_for": "club", "slow_mode_s": 60}, {**RAISED, "chat_for": "club", "slow_mode_s": 60}),
    (
        {"chat_for": "staff", "followers_min_age_s": 86_400},
        {**RAISED, "chat_for": "staff", "followers_min_age_s": 86_400},
    ),
    ({"chat_for": "followers", "unique_chat_s": 300}, {**RAISED, "unique_chat_s": 300}),
    ({"links": False, "emotes_only": True, "slow_mode_s": 1}, RAISED | {"emotes_only": True}),
]


@pytest.mark.parametrize(("own", "counts"), OWN)
async def test_the_stricter_one_wins(site: Site, own: dict[str, Any], counts: dict[str, Any]) -> None:
    """Of each setting, on or off; and off, the room's own is what it was."""
    await site.put_room("demo", **own)
    before, alice = await settings_of(site), await site.join("alice")
    free = alice.welcome["room"]["settings"]
    await site.http.patch("/v1/rooms/demo", json={"settings": {"shield": True}})
    assert (await alice.happened("room.updated"))["settings"] == {**free, **counts, "shield": True}
    await site.http.patch("/v1/rooms/demo", json={"settings": {"shield": False}})
    await alice.happened("room.updated", settings=free)
    assert await settings_of(site) == before


async def test_off_all_is_as_it_was(site: Site, another_site: MakeSite) -> None:
    """On every node, one that starts meanwhile too. What somebody sets meanwhile counts when it is off again."""
    await site.put_room("demo", unique_chat_s=300, blocked_words=["bad"])
    there = await another_site()
    host, alice = await host_of(site), await with_facts(there, "alice", follower_since_ms=days_ago(30))
    bob = await there.join("bob", codec="msgpack")
    before = await settings_of(site)
    for text in ("one", "two"):
        assert (await alice.ask("chat.send", text=text))["type"] == "ok"
    assert (await host.ask("room.set", settings={"shield": True}))["type"] == "ok"
    shown = (await bob.happened("room.updated"))["settings"]
    assert (await alice.ask("chat.send", text="three"))["reason"] == "slow_mode"
    assert (await host.ask("chat.send", text="four"))["type"] == "ok"
    assert (await bob.ask("chat.send", text="five"))["reason"] == "followers_only"
    assert (await settings_of(site)) == {**before, "shield": True}
    again = await another_site()
    late = await again.join("late")
    assert late.welcome["room"]["settings"] == shown
    await host.ask("room.set", settings={"slow_mode_s": 2, "chat_for": "club"})
    stricter = {**shown, "chat_for": "club"}
    await late.happened("room.updated", settings=stricter)
    assert (await alice.ask("chat.send", text="six"))["reason"] == "club_only"
    await host.ask("room.set", settings={"shield": False})
    await late.happened("room.updated", settings={**late.welcome["room"]["settings"], **OFF, "unique_chat_s": 300})
    assert (await settings_of(site)) == {**before, "slow_mode_s": 2, "chat_for": "club"}


OFF = {"shield": False, "slow_mode_s": 2, "chat_for": "club", "followers_min_age_s": 0, "links": True}


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, "followers_only"),
        ({"follower_since_ms": (limits.SHIELD_FOLLOWED_S - 60) / 86_400}, "too_young"),
        ({"follower_since_ms": (limits.SHIELD_FOLLOWED_S + 60) / 86_400}, None),
        ({"follower_since_ms": 30, "account_since_ms": limits.SHIELD_ACCOUNT_MS / 86_400_000 - 0.0005}, "shielded"),
        ({"follower_since_ms": 30, "account_since_ms": limits.SHIELD_ACCOUNT_MS / 86_400_000 + 0.0005}, None),
        ({"club_since_ms": 0}, None),
        ({"club_since_ms": 0, "account_since_ms": 0}, "shielded"),
    ],
)
async def test_who_may_chat(site: Site, facts: dict[str, float], reason: str | None) -> None:
    """By the token's facts, here in days; staff can, and off, everybody can."""
    await site.put_room("demo", shield=True)
    told = {name: days_ago(days) for name, days in facts.items()}
    host, alice = await host_of(site), await with_facts(site, "alice", **told)
    reply = await alice.ask("chat.send", text="hello")
    assert reply.get("reason") == reason
    if reason in ("too_young", "shielded"):
        assert 0 < reply["retry_after_ms"] <= limits.SHIELD_ACCOUNT_MS
    assert (await host.ask("chat.send", text="hello"))["type"] == "ok"
    await host.ask("room.set", settings={"shield": False})
    await alice.happened("room.updated")
    assert (await alice.ask("chat.send", text="again"))["type"] == "ok"


async def test_what_may_be_said(site: Site) -> None:
    """No link, and no words of the room's list, as automod 3 refuses them. Whose account is new is refused first."""
    await site.put_room("demo", blocked_words=["bad"], automod=1, shield=True)
    assert limits.SHIELD_AUTOMOD == 3
    alice = await with_facts(site, "alice", follower_since_ms=days_ago(1))
    assert (await alice.ask("chat.send", text="bad"))["reason"] == "blocked_words"
    assert (await alice.ask("chat.send", text="see example.com"))["reason"] == "links_off"
    dave = await with_facts(site, "dave", follower_since_ms=days_ago(1), account_since_ms=days_ago(0))
    assert (await dave.ask("chat.send", text="bad"))["reason"] == "shielded"
