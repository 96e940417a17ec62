"""Joining: what the welcome has is tested with the room and the session; here is what storms ask of it."""

import asyncio
import gc
import json
import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from server import limits
from server.edge.admission import NOWHERE, Admitted
from server.edge.socket import Connection
from server.rooms.history import History
from server.store.client import StoreError
from tests.edge.test_door import ROOM, Way, answer_to, request, way
from tests.edge.test_replays import missed_by
from tests.frames import Heard, Wire
from tests.program import eventually
from tests.site import Site

__all__ = ["way"]


async def test_a_storm_shares_one_read_of_the_history(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those whose past is no longer in memory read it together, each from another place."""
    _, since = await missed_by(site, "one", "two", "three")
    epoch, _, first = since.partition(":")
    room = await site.node.rooms.open("demo")
    last = room.head
    room.outbox._ring.begin(last, [])
    asked: list[Any] = []
    kept = History.kept

    async def counted(self: History, room_id: str, after: int, to: int) -> Any:
        asked.append((after, to))
        return await kept(self, room_id, after, to)

    monkeypatch.setattr(History, "kept", counted)
    places = range(int(first), last)
    viewers = await asyncio.gather(*(site.join(f"bob-{at}", since=f"{epoch}:{at}") for at in places))
    for at, viewer in zip(places, viewers, strict=True):
        assert viewer.welcome["resumed"] is True
        await viewer.happened("chat.sent", text="three")
        assert [event["seq"] for event in viewer.events() if event["seq"] <= last] == list(range(at + 1, last + 1))
    assert len(asked) <= 2  # a count of viewers may have come in between


async def test_a_join_leaves_no_garbage(site: Site, way: Way) -> None:
    """Nothing of a handshake names itself: 15,000 joins would otherwise stop the loop for garbage collections."""
    made = request(f"{ROOM}?token={site.token('alice')}")
    await answer_to(site, made)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(5):
            await answer_to(site, made)
        gc.collect()
        left = Counter(type(each).__module__ + "." + type(each).__name__ for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert way.taken == 6
    assert not [name for name in left if name.startswith(("server.", "httptools.", "uvicorn."))]


async def test_those_of_a_turn_ask_together(site: Site, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their balances are asked for in one call, and each gets its own; overlays have none."""
    monkeypatch.setattr(limits, "HEADS_TURN_S", 1.0)  # on a busy machine they would not share a turn
    monkeypatch.setattr(limits, "JOIN_TURN_S", 1.0)
    for user, coins in (("ann", 7), ("ben", 8)):
        await site.give_coins(user, coins)
    asked: list[list[str]] = []
    wallet = site.node.wallet
    coins_of = type(wallet).coins_of

    async def noted(user_ids: Sequence[str]) -> list[int | None]:
        asked.append(list(user_ids))
        return await coins_of(wallet, user_ids)

    wallet.coins_of = noted  # type: ignore[method-assign]
    people = [("ann", "viewer"), ("screen", "overlay"), ("ben", "viewer")]
    made = [request(f"{ROOM}?token={site.token(user, role)}") for user, role in people]
    sockets = [socket.create_connection(("127.0.0.1", site.port)) for _ in made]
    for each, data in zip(sockets, made, strict=True):  # all before the loop turns
        each.sendall(data)
    heard: dict[str, int | None] = {}
    for each in sockets:
        reader, writer = await asyncio.open_connection(sock=each)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        _, second = await reader.readexactly(2)
        size = int.from_bytes(await reader.readexactly(2)) if second == 126 else second
        you = json.loads(await reader.readexactly(size))[0]["you"]
        heard[you["user_id"]] = you["coins"]
        writer.transport.abort()
    assert heard == {"ann": 7, "screen": None, "ben": 8}
    assert ["ann", "ben"] in asked
    assert way.taken == 3
    assert site.node.sessions.joining.under_way == 0


async def test_many_welcomes_take_turns(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """When many balances come at once, the loop turns between the welcomes."""
    monkeypatch.setattr(limits, "JOIN_TURN_S", 0)
    joining, room, turns = site.node.sessions.joining, await site.node.rooms.open("demo"), list[int]()
    joining._welcomes.turn()  # one that has no time
    monkeypatch.setattr(type(joining), "_greet", lambda *_: bool(turns.append(turn)) or True)
    turn = 0

    def count() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(count)

    loop = asyncio.get_running_loop()
    claims = site.node.tokens.check(site.token("alice"), 0)
    admitted = Admitted(claims=claims, since=None, chats=0, room=room, place=NOWHERE, address=None)
    loop.call_soon(count)
    for _ in range(5):
        connection = Connection(Heard(), Wire(), "json", set())
        monkeypatch.setattr(connection.transport, "is_closing", lambda: True)
        monkeypatch.setattr(connection.transport, "is_reading", lambda: True)
        joining.begin(connection, admitted)
    await eventually(lambda: len(turns) == 5, what="all welcomes")
    assert len(set(turns)) == 5
    assert joining.under_way == 0


async def test_welcomes_that_wait_for_a_room_take_turns(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot that many wait for comes to all at once; their welcomes are spread over turns of the loop."""
    monkeypatch.setattr(limits, "JOIN_TURN_S", 0)
    joining, turns = site.node.sessions.joining, list[int]()
    joining._welcomes.turn()  # one that has no time
    turn = 0

    def count() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(count)

    loop = asyncio.get_running_loop()
    loop.call_soon(count)
    done = [joining._in_turn(lambda: turns.append(turn)) for _ in range(5)]
    await asyncio.gather(*done)
    assert len(set(turns)) == 5

    def fail() -> None:
        raise StoreError("away")

    with pytest.raises(StoreError):
        await joining._in_turn(fail)
