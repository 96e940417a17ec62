"""The session's own command: a socket outlives its first token."""

import pytest

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


async def test_a_token_for_this_room(site: Site) -> None:
    """A token that is only for this room refreshes a socket in it."""
    alice = await join(site)
    assert (await alice.ask("session.refresh", token=site.token("alice", room="demo")))["type"] == "ok"
