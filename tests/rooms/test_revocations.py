"""Revoked tokens: nobody comes in with one, on any node, after any restart, and sockets that did are closed."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import websockets
from sqlalchemy.exc import OperationalError

from protocol.closes import Close
from server import limits
from server.journal import revocations as journal
from server.journal.revocations import EVERYWHERE, Revocation
from tests.conftest import Stores
from tests.features.test_members import refused_at
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]


async def token_of(site: Site, user: str, **fields: Any) -> str:
    """A token that says when it was made, as the platform gets it."""
    body = {"sub": user, "name": user.capitalize(), "role": "viewer", **fields}
    done = await site.http.post("/v1/tokens", json=body)
    assert done.status_code == 200, done.text
    return str(done.json()["token"])


async def revoke(site: Site, user: str, **fields: Any) -> dict[str, Any]:
    done = await site.http.post("/v1/tokens/revoke", json={"user_id": user, **fields})
    assert done.status_code == 200, done.text
    answer: dict[str, Any] = done.json()
    return answer


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_sockets_are_closed_on_every_node(site: Site, another_site: MakeSite, codec: str) -> None:
    """Those of this person in every room, whatever their role; others stay, and so does who has a newer token."""
    there = await another_site()
    await site.put_room("other")
    old = await token_of(site, "alice")
    gone = [
        await site.join(token=old, codec=codec),
        await there.join(token=old, codec=codec),
        await there.join(token=old, room="other", codec=codec),
        await there.join("alice", "overlay", codec=codec),  # with a token that says no time
    ]
    bob = await there.join("bob", codec=codec)
    revoked = await revoke(site, "alice")
    assert revoked == {"user_id": "alice", "room": None, "revoked_ms": revoked["revoked_ms"]}
    for viewer in gone:
        assert await viewer.closed() == Close.TOKEN_REVOKED
    for each in (site, there):
        assert await refused_at(each, "alice", token=old) == 403
        assert await refused_at(each, "alice") == 403
        await each.join(token=await token_of(each, "alice"), codec=codec)
    assert (await bob.ask("chat.send", text="still here"))["type"] == "ok"


async def test_the_answer_says_why(site: Site) -> None:
    """Over HTTP by name; a page sees the code of the socket."""
    old = await token_of(site, "alice")
    await revoke(site, "alice")
    with pytest.raises(websockets.InvalidStatus) as refused:
        await site.join(token=old)
    assert b'"reason":"revoked"' in bytes(refused.value.response.body or b"").replace(b": ", b":")
    async with websockets.connect(site.address(token=old) + "&refusals=close", proxy=None) as socket:
        await asyncio.wait_for(socket.wait_closed(), 10)
        assert (socket.close_code, socket.close_reason) == (Close.TOKEN_REVOKED, "token revoked")


async def test_a_revocation_of_one_room(site: Site) -> None:
    """Elsewhere the token is good."""
    await site.put_room("other")
    old = await token_of(site, "alice")
    here, other = await site.join(token=old), await site.join(token=old, room="other")
    assert (await revoke(site, "alice", room="demo"))["room"] == "demo"
    assert await here.closed() == Close.TOKEN_REVOKED
    assert await refused_at(site, "alice", token=old) == 403
    assert (await other.ask("chat.send", text="still here"))["type"] == "ok"
    await site.join(token=old, room="other")


async def test_a_revocation_between_admission_and_welcome(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was let in a moment before gets no welcome."""
    await site.join("bob")  # so that the room is open
    old, revocations = await token_of(site, "alice"), site.node.revocations
    admission = site.node.sessions._admission
    check = admission.check_now

    def check_then_revoke(*args: Any, **named: Any) -> Any:
        admitted = check(*args, **named)
        revocations.on_news(b'["alice","",%d]' % (time.time() * 1000 + 1_000))
        return admitted

    monkeypatch.setattr(admission, "check_now", check_then_revoke)
    async with websockets.connect(site.address(token=old), proxy=None) as socket:
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
        assert socket.close_code == Close.TOKEN_REVOKED


async def test_a_refresh_with_a_revoked_token(site: Site) -> None:
    """It is refused by name, and a newer token keeps the socket."""
    old = await token_of(site, "alice")
    await revoke(site, "alice")
    viewer = await site.join(token=await token_of(site, "alice"))
    assert (await viewer.ask("session.refresh", token=old))["reason"] == "revoked"
    await revoke(site, "bob")
    newer = await token_of(site, "alice")
    assert (await viewer.ask("session.refresh", token=newer))["type"] == "ok"
    await revoke(site, "alice")
    assert await viewer.closed() == Close.TOKEN_REVOKED


async def test_what_a_refresh_saves(site: Site) -> None:
    """A socket counts as of its newest token: a revocation that is older than this one, and comes late, leaves it."""
    viewer = await site.join(token=await token_of(site, "alice"))
    between_ms = int(time.time() * 1000)
    newer = await token_of(site, "alice")
    assert (await viewer.ask("session.refresh", token=newer))["type"] == "ok"
    late = Revocation("alice", EVERYWHERE, between_ms - 1)
    site.node.revocations.on_news(b'["%b","",%d]' % (late.user_id.encode(), late.revoked_ms))
    assert (await viewer.ask("chat.send", text="still here"))["type"] == "ok"


async def test_it_outlives_nodes_and_the_room_store(site: Site, another_site: MakeSite, stores: Stores) -> None:
    """SQL has it: a node that starts knows it before anybody comes in, whatever the room store has lost."""
    old = await token_of(site, "alice")
    await revoke(site, "alice")
    with stores.room.client() as client:
        client.flushall()
    there = await another_site()
    await there.put_room("other")
    assert await refused_at(there, "alice", token=old, room="other") == 403
    await there.join(token=await token_of(there, "alice"), room="other")


async def test_what_the_bus_loses_is_read(site: Site, another_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that heard nothing looks into SQL."""
    there = await another_site()
    alice = await there.join(token=await token_of(site, "alice"))
    monkeypatch.setitem(there.node.fanout._site, b"{r:}:revoked", lambda _payload: None)
    await revoke(site, "alice")
    await there.node.revocations.read()
    assert await alice.closed() == Close.TOKEN_REVOKED


async def test_while_sql_is_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is revoked, and the answer says so."""
    old = await token_of(site, "alice")

    def away(*_args: object) -> None:
        raise OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(journal, "record", away)
    assert (await site.http.post("/v1/tokens/revoke", json={"user_id": "alice"})).status_code == 503
    await site.join(token=old)


async def test_how_many_are_kept(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the bound those go of which no token that we signed can be good; if there are none, the answer says so."""
    monkeypatch.setattr(limits, "REVOCATIONS_MAX", 2)
    engine, now_ms = site.node.engine, int(time.time() * 1000)
    long_ago_ms = now_ms - limits.TOKEN_TTL_S_MAX * 1000 - 60_000
    journal.record(engine, Revocation("old", EVERYWHERE, long_ago_ms))
    for user in ("alice", "bob", "bob"):
        await revoke(site, user)
    assert {each.user_id for each in journal.since(engine, 0)} == {"alice", "bob"}
    done = await site.http.post("/v1/tokens/revoke", json={"user_id": "carol"})
    assert (done.status_code, done.json()["error"]["reason"]) == (409, "too_many_revocations")
    assert (await revoke(site, "alice"))["user_id"] == "alice"
    assert len(journal.since(engine, 0)) == 2


async def test_an_older_one_changes_nothing(site: Site) -> None:
    """Of two that overtake each other the newer one stays, in SQL and on the node."""
    engine, told = site.node.engine, list[str]()
    site.node.revocations.on_revoked = told.append
    for ms in (2_000, 1_000):
        journal.record(engine, Revocation("alice", EVERYWHERE, ms))
        site.node.revocations.on_news(b'["alice","",%d]' % ms)
    assert journal.since(engine, 0) == [Revocation("alice", EVERYWHERE, 2_000)]
    assert told == ["alice"]
    hold = site.node.revocations.hold
    assert [hold("alice", "demo", ms) for ms in (None, 1_999, 2_000, 2_001)] == [True, True, True, False]
    assert not hold("bob", "demo", None)


async def test_a_hosts_token_that_was_revoked_shows_no_settings(site: Site) -> None:
    """The room over HTTP is then what everybody sees."""
    old = await token_of(site, "creator", role="host", room="demo")
    headers = {"Authorization": f"Bearer {old}"}
    whole = (await site.http.get("/v1/rooms/demo", headers=headers)).json()
    await revoke(site, "creator")
    shown = (await site.http.get("/v1/rooms/demo", headers=headers)).json()
    assert "blocked_words" in whole["settings"]
    assert "blocked_words" not in shown.get("settings", {})


async def test_a_batch_of_tokens(site: Site) -> None:
    """All or none, in order, up to the bound."""
    people = [{"sub": f"u{n}", "name": f"U{n}", "role": "viewer"} for n in range(limits.TOKENS_BATCH_MAX + 1)]
    done = await site.http.post("/v1/tokens/batch", json={"tokens": people[:-1]})
    assert done.status_code == 200
    now_s = time.time()
    subs = [site.node.tokens.check(token, now_s).sub for token in done.json()["tokens"]]
    assert subs == [person["sub"] for person in people[:-1]]
    for bad in (people, [], [people[0], {**people[1], "name": "\u200b"}]):
        assert (await site.http.post("/v1/tokens/batch", json={"tokens": bad})).status_code == 400
