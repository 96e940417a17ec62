"""`refusals=close`: a refusal is a socket that is closed at once with the reason, because pages see no status."""

import re
from typing import Any

import pytest
import websockets

from protocol.closes import Close, comes_back
from server import limits
from server.edge.refusing import NotAdmitted, close_of
from server.rooms.history import NoSuchRoom
from server.rooms.room import Room
from server.store.client import StoreDown
from tests.site import Site


async def closed(site: Site, address: str, **how: Any) -> tuple[int, str]:
    """The code and the reason of a refusal that comes as a close."""
    async with websockets.connect(f"{address}&refusals=close", compression=None, proxy=None, **how) as connection:
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
        return connection.close_code or 0, connection.close_reason or ""


async def test_each_refusal_has_its_code(site: Site) -> None:
    """The codes of what a new token or another address would change."""
    good = site.token("alice")
    assert await closed(site, site.address()) == (4510, "token missing")
    assert await closed(site, site.address(token="x")) == (4511, "bad token")
    assert await closed(site, site.address(token=site.token("alice", ttl_s=-1))) == (4003, "token expired")
    assert await closed(site, site.address(token=site.token("alice", room="other"))) == (4512, "wrong room")
    assert await closed(site, site.address(room="none", token=good)) == (4513, "no such room")
    assert await closed(site, site.address(room="demo/x", token=good)) == (4513, "no such address")
    assert await closed(site, site.address(token=good, since="x")) == (4502, "bad since")
    assert site.node.sessions.joining.joins == 0


async def test_refusals_that_pass(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason of those says when to come back."""
    token = site.token("alice")
    site.node.sessions.draining = True
    assert await closed(site, site.address(token=token)) == (4006, f"retry_after_ms={limits.RETRY_AFTER_S * 1000}")
    site.node.sessions.draining = False
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 0)
    assert await closed(site, site.address(token=token)) == (4006, f"retry_after_ms={limits.RETRY_AFTER_S * 1000}")
    monkeypatch.undo()
    site.node.sessions._admission.note_flood("alice", None)
    code, reason = await closed(site, site.address(token=token))
    wait = re.fullmatch(r"retry_after_ms=(\d+)", reason)
    assert wait
    assert code == 4007
    assert 0 < int(wait[1]) <= limits.FLOOD_WAIT_S * 1000
    await site.node.room_store.stop()
    assert (await closed(site, site.address(room="other", token=site.token("bob"))))[0] == 4006


async def test_a_browser_gets_the_protocol_it_offered(site: Site) -> None:
    """A page that offered a subprotocol and got none would see 1006."""
    offered = [websockets.Subprotocol("liveroom.v1.json")]
    assert (await closed(site, site.address(token="x"), subprotocols=offered))[0] == 4511
    unknown = [websockets.Subprotocol("liveroom.v9.json"), websockets.Subprotocol("liveroom.token.x")]
    assert await closed(site, site.address(token="x"), subprotocols=unknown) == (4502, "unknown subprotocol")


async def test_others_keep_the_answer(site: Site) -> None:
    """Without the word in the query, or with another one, the refusal is an HTTP answer."""
    for query in ("", "&refusals=", "&refusals=http"):
        with pytest.raises(websockets.InvalidStatus) as error:
            await websockets.connect(site.address(token="x") + query, compression=None, proxy=None)
        assert error.value.response.status_code == 401
    address = site.address(token=site.token("alice")) + "&refusals=close"
    async with websockets.connect(address, compression=None, proxy=None) as connection:
        assert "welcome" in str(await connection.recv())


def test_every_refusal_has_a_code() -> None:
    """Also those of other parts: 503 is 4006, 429 is 4007, and an unknown one is final."""
    expected = {
        "banned": Close.BANNED,
        "revoked": Close.TOKEN_REVOKED,
        "token_missing": Close.TOKEN_MISSING,
        "no_such_room": Close.NO_SUCH_ROOM,
    }
    for reason, code in expected.items():
        assert close_of(NotAdmitted(403, reason, "")) == (code, code.reason)
    assert close_of(NotAdmitted(503, "anything", "", 2)) == (Close.UNAVAILABLE, "retry_after_ms=2000")
    assert close_of(NotAdmitted(429, "anything", "", 1)) == (Close.TOO_MANY, "retry_after_ms=1000")
    code, reason = close_of(NotAdmitted(400, "some_thing", ""))
    assert (code, reason) == (Close.PROTOCOL_ERROR, "some thing")
    assert comes_back(4006)
    assert comes_back(4007)
    assert not any(comes_back(code) for code in range(4510, 4514))


@pytest.mark.parametrize(
    ("failed", "told"),
    [(StoreDown("away"), (4006, "retry_after_ms=1000")), (NoSuchRoom("demo"), (4513, "no such room"))],
    ids=["away", "deleted"],
)
async def test_what_goes_wrong_behind_the_upgrade(
    site: Site, monkeypatch: pytest.MonkeyPatch, failed: Exception, told: tuple[int, str]
) -> None:
    """Who was let in, and finds the store or the room gone, gets the same codes: nothing is wrong with our program."""

    async def fails(*_: object, **__: object) -> None:
        raise failed

    monkeypatch.setattr(Room, "snapshot_at_hand", lambda *_: None)
    monkeypatch.setattr(Room, "snapshot", fails)
    address = site.address(token=site.token("alice"))
    async with websockets.connect(address, compression=None, proxy=None) as connection:
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
        assert (connection.close_code, connection.close_reason) == told
