"""The session's own command: a socket outlives its first token."""

import asyncio
import time
from typing import get_args

import pytest

from protocol.wire import Role
from server import limits
from tests.site import Site, Viewer

TOKEN_EXPIRED = 4003


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel that checks tokens turns many times a second."""
    monkeypatch.setattr(limits, "WHEEL_S", 0.02)


async def join(site: Site, *, ttl_s: float = 600, role: str = "viewer") -> Viewer:
    return await site.join(token=site.token("alice", role, ttl_s=ttl_s), role=role)


@pytest.mark.parametrize("role", ["viewer", "overlay"])
async def test_a_refreshed_socket_outlives_its_token(quick: None, site: Site, role: str) -> None:
    """One socket got a new token in time, the other did not: only the other is closed, with the code that says why."""
    kept, lost = await join(site, ttl_s=2, role=role), await join(site, ttl_s=2, role=role)
    reply = await kept.ask("session.refresh", token=site.token("alice", role, ttl_s=600))
    assert reply["type"] == "ok"
    assert reply["expires_ms"] > lost.welcome["server_time_ms"] + 500_000
    assert await lost.closed() == TOKEN_EXPIRED
    assert (await kept.ask("ping"))["type"] == "ok"


async def test_a_refreshed_socket_ends_with_its_new_token(site: Site) -> None:
    """It gets as much more time as that token has, and then the same close."""
    alice = await join(site, ttl_s=600)
    await alice.ask("session.refresh", token=site.token("alice", ttl_s=1_200))
    [connection] = site.node.sessions.connections
    for later_s in (900, 1_201):
        assert not connection.closing
        now = asyncio.get_running_loop().time()
        site.node.sessions._wheel.look_at(connection, time.time() + later_s, now)
    assert await alice.closed() == TOKEN_EXPIRED


async def test_an_older_token_shortens_nothing(site: Site) -> None:
    """A token that expires sooner than the one before is accepted, and changes nothing."""
    alice = await join(site, ttl_s=600)
    reply = await alice.ask("session.refresh", token=site.token("alice", ttl_s=5))
    assert reply["expires_ms"] > alice.welcome["server_time_ms"] + 500_000


@pytest.mark.parametrize(
    "kind", ["none", "expired", "another's", "another role", "another room", "a number", "too long"]
)
async def test_tokens_that_do_not_fit(site: Site, kind: str) -> None:
    """Only a valid token of the same person and role, for this room, is accepted; the socket keeps its old one."""
    alice = await join(site)
    tokens = {
        "none": "x.y.z",
        "expired": site.token("alice", ttl_s=-5),
        "another's": site.token("bob"),
        "another role": site.token("alice", "moderator"),
        "another room": site.token("alice", room="elsewhere"),
        "a number": 5,
        "too long": "x" * (limits.TOKEN_BYTES_MAX + 1),
    }
    reason = "bad_command" if kind in ("a number", "too long") else "bad_token"
    assert (await alice.ask("session.refresh", token=tokens[kind]))["reason"] == reason
    assert (await alice.ask("ping"))["type"] == "ok"


@pytest.mark.parametrize("role", get_args(Role))
async def test_nobody_stays_with_a_token_for_another_room(site: Site, role: str) -> None:
    """Whatever the role is: the token does not even give a viewer's."""
    alice = await site.join(token=site.token("alice", role, room="demo"))
    assert (await alice.ask("session.refresh", token=site.token("alice", role, room="other")))["reason"] == "bad_token"


async def test_a_token_for_this_room(site: Site) -> None:
    """A token that is only for this room refreshes a socket in it."""
    alice = await join(site)
    assert (await alice.ask("session.refresh", token=site.token("alice", room="demo")))["type"] == "ok"


async def test_a_new_token_brings_new_facts(site: Site) -> None:
    """What the platform knows of somebody changes with the token, on the same socket."""
    alice, bob = await site.join("alice"), await site.join("bob")
    token = site.node.tokens.sign(sub="alice", name="Alice", role="viewer", exp_s=time.time() + 600, badges=["club:2"])
    assert (await alice.ask("session.refresh", token=token))["type"] == "ok"
    await alice.ask("chat.send", text="hello")
    assert (await bob.happened("chat.sent", text="hello"))["user"]["badges"] == ["club:2"]
