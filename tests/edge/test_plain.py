"""The app on other servers: hypercorn, and uvicorn with its own websockets. Slower, but the same behaviour."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypercorn.asyncio
import pytest
import websockets
from hypercorn.config import Config

from protocol.closes import Close, comes_back
from server import limits
from server.app import create_app
from server.edge.plain import PlainConnection
from tests.conftest import Stores
from tests.journeys.raw import TEXT, Peers, RawSocket, frame, upgrade
from tests.journeys.talk import chat
from tests.program import eventually
from tests.site import WAIT_S, Site, Viewer, new_gift_id
from tests.stores import settings


class Hypercorn(Site):
    """A site behind hypercorn."""

    async def start(self) -> None:
        self._stop = asyncio.Event()
        config = Config()
        config.bind = [f"fd://{self.listener.detach()}"]
        config.errorlog = None
        app = create_app(self.node)
        self._served = asyncio.create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=self._stop.wait))  # type: ignore[arg-type]
        async with asyncio.timeout(WAIT_S):  # its lifespan comes first: until then requests wait in the backlog
            (await self.http.get("/readyz")).raise_for_status()

    async def stop(self) -> None:
        for viewer in self.viewers:
            await viewer.leave()
        await self.http.aclose()
        self._stop.set()
        await self._served


class Uvicorn(Site):
    """A site behind uvicorn without our protocol class."""

    async def start(self) -> None:
        self.server.config.ws, self.server.config.http = "websockets-sansio", "httptools"
        await super().start()


@pytest.fixture(params=[Hypercorn, Uvicorn])
async def site(request: pytest.FixtureRequest, stores: Stores, journal: str, tmp_path: Path) -> AsyncIterator[Site]:
    """A node with the demo room behind another server; kernel buffers are small, so that they fill soon."""
    made: Site = request.param(
        settings(
            tmp_path,
            LIVEROOM_WALLET_URL=f"unix://{stores.wallet.socket}",
            LIVEROOM_ROOM_URL=f"unix://{stores.room.socket}",
            LIVEROOM_JOURNAL_URL=journal,
            LIVEROOM_LOG="warning",
        )
    )
    made.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * 1024)
    await made.start()
    yield made
    await made.stop()


def connection_of(site: Site, user: str) -> PlainConnection:
    """The node's end of a user's socket."""
    (found,) = [each for each in site.node.sessions.connections if each.member and each.member.user_id == user]
    assert isinstance(found, PlainConnection)
    return found


# --- the usual course ----------------------------------------------------------------------------------------------
async def test_chat_and_gifts_in_both_codecs(site: Site) -> None:
    """What one says or gives reaches everybody in either codec, in one order; only the giver gets the balance."""
    alice, bob = await site.join("alice"), await site.join("bob", codec="msgpack")
    assert connection_of(site, "alice").codec == "json"
    said = await alice.ask("chat.send", text="grüß dich")
    reply = await bob.gift("rose", 3)
    assert (said["type"], reply["type"], reply["coins"]) == ("ok", "ok", 9_997)
    assert (await bob.happened("wallet.changed"))["coins"] == 9_997
    for viewer in (alice, bob):
        assert (await viewer.happened("chat.sent", id=said["id"]))["text"] == "grüß dich"
        assert (await viewer.happened("gifts.sent"))["coins"] == 3
    kept = [[(event["seq"], event["type"]) for event in viewer.events()][:2] for viewer in (alice, bob)]
    assert kept[0] == kept[1]
    assert not any(message["type"] == "wallet.changed" for message in alice.told)


async def test_resuming(site: Site) -> None:
    """`since` replays what was missed, marked, then goes on live; an unknown position is a gap."""
    alice = await site.join("alice")
    seq = (await alice.ask("chat.send", text="seen"))["seq"]
    await alice.ask("chat.send", text="missed")
    back = await site.join("bob", since=f"{alice.welcome['epoch']}:{seq}")
    assert (back.welcome["resumed"], back.welcome["gap"]) == (True, None)
    assert (await back.happened("chat.sent", text="missed"))["replayed"] is True
    await alice.ask("chat.send", text="live")
    assert "replayed" not in await back.happened("chat.sent", text="live")
    lost = await site.join("carol", codec="msgpack", since="nowhere:1")
    assert lost.welcome["gap"] == {"from": 1, "to": lost.welcome["seq"]}


async def test_refusals_before_the_upgrade(site: Site) -> None:
    """Refusals are HTTP answers with the usual body; plain HTTP is served beside."""
    with pytest.raises(websockets.InvalidStatus) as no:
        await websockets.connect(site.address(token="x"), compression=None, proxy=None)
    assert no.value.response.status_code == 401
    assert b'"reason":"bad_token"' in no.value.response.body
    assert (await site.http.get("/v1/rooms/demo")).json()["room_id"] == "demo"


async def test_refusals_that_a_page_can_see(site: Site) -> None:
    """With `refusals=close` they are close codes here, too."""
    address = site.address(token="x") + "&refusals=close"
    async with websockets.connect(address, compression=None, proxy=None) as connection:
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
        assert connection.close_code == Close.BAD_TOKEN


# --- closing -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("{", Close.PROTOCOL_ERROR),
        (b'{"type":"ping"}', Close.UNACCEPTABLE),
        ('"' + "x" * limits.FRAME_BYTES_MAX + '"', Close.TOO_BIG),
    ],
    ids=["cut off", "of the other codec", "too large"],
)
async def test_a_peer_that_breaks_the_protocol(site: Site, said: str | bytes, code: Close) -> None:
    """Its socket is closed with the same code as everywhere."""
    alice = await site.join("alice")
    await alice.connection.send(said)
    assert await alice.closed() == code


async def test_a_peer_that_leaves(site: Site) -> None:
    """Close frames are answered with the same code, a cut connection is noticed, and neither peer stays in the room."""
    alice, bob = await site.join("alice"), await site.join("bob")
    sessions = site.node.sessions
    room = connection_of(site, "bob").member.room
    await alice.connection.close(4_999)
    assert alice.connection.close_code == 4_999
    await eventually(lambda: len(sessions.connections) == len(room.members) == 1)
    bob.connection.transport.abort()
    await eventually(lambda: not sessions.connections and not room.members)


@pytest.fixture
def quick_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets are checked twenty times a second, and all timeouts are a fraction of the real ones."""
    monkeypatch.setattr(limits, "WHEEL_S", 0.05)
    monkeypatch.setattr(limits, "HEARTBEAT_S", 0.25)
    monkeypatch.setattr(limits, "UNRESPONSIVE_S", 0.75)


async def test_time_passes(quick_wheel: None, site: Site) -> None:
    """A socket ends with its token. One that only listens stays, because the server sees its pongs."""
    screen = await site.join("screen", "overlay")
    alice = await site.join("alice", token=site.token("alice", ttl_s=1.2))
    assert await alice.closed() == Close.TOKEN_EXPIRED
    await screen.until(lambda told: sum(message == {"type": "heartbeat"} for message in told) >= 8)
    assert (await screen.ask("ping"))["type"] == "ok"


async def test_draining(site: Site) -> None:
    """Everybody is asked to come back, gifts under way are finished, and the close code is 4001."""
    viewers = [await site.join(f"viewer-{n}", codec=("json", "msgpack")[n % 2]) for n in range(4)]
    alice = await site.join("alice")
    await alice.tell([{"type": "gifts.send", "id": new_gift_id(), "gift": "rose", "count": 1} for _ in range(10)])
    await alice.happened("ok")
    await site.node.sessions.drain()
    for viewer in (*viewers, alice):
        assert await viewer.closed() == Close.DRAINING
        assert (await viewer.happened("notice"))["kind"] == "draining"
    assert len([message for message in alice.told if message["type"] == "ok"]) == 10
    with pytest.raises(websockets.InvalidStatus) as no:
        await site.join("late")
    assert no.value.response.status_code == 503


# --- slow peers ----------------------------------------------------------------------------------------------------
@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a peer soon reaches its bound, and the wheel checks nobody."""
    monkeypatch.setattr(limits, "WHEEL_S", 60)
    monkeypatch.setattr(limits, "WRITE_LOW_BYTES", 4 * 1024)
    monkeypatch.setattr(limits, "WRITE_HIGH_BYTES", 16 * 1024)
    monkeypatch.setattr(limits, "WRITE_BYTES_MAX", 128 * 1024)
    monkeypatch.setattr(limits, "PIECE_BYTES", 8 * 1024)


async def slow_peer(site: Site, peers: Peers, role: str = "overlay") -> RawSocket:
    """A peer that reads nothing and whose kernel takes little."""
    peer = await peers.connect(site.port, receive_bytes=4_096)
    path = "/" + site.address(token=site.token("slow", role)).split("/", 3)[3]
    await peer.send(upgrade(path))
    sessions = site.node.sessions
    await eventually(lambda: any(each.member and each.member.user_id == "slow" for each in sessions.connections))
    return peer


async def more_than_is_buffered(bot: Viewer) -> None:
    """Half a megabyte of chat, in small steps."""
    for _ in range(8):
        await bot.happened("chat.sent", seq=await chat(bot, 100, size=500))


async def test_a_reader_that_catches_up(small_bounds: None, site: Site, peers: Peers) -> None:
    """What waits for a peer that does not read is bounded; once it reads on it gets all, or a count of hidden chats."""
    bot = await site.join("alice", "bot")
    peer = await slow_peer(site, peers)
    connection = connection_of(site, "slow")
    await more_than_is_buffered(bot)
    assert connection.paused
    assert connection._queued_bytes < limits.WRITE_BYTES_MAX
    assert await peer.status() == 101
    gift = await bot.gift("rose")
    told: list[dict[str, Any]] = []
    while not any(event["type"] == "gifts.sent" for event in told):
        opcode, payload = await peer.read_frame()
        assert opcode == TEXT
        told += json.loads(payload)
    chats = [event["seq"] for event in told if event["type"] == "chat.sent"]
    hidden = sum(event["count"] for event in told if event["type"] == "notice")
    assert chats == sorted(set(chats))
    assert len(chats) + hidden == 800
    assert [event["id"] for event in told if event["type"] == "gifts.sent"] == [gift["id"]]
    assert not connection.paused


async def test_a_peer_that_asks_and_does_not_read(small_bounds: None, site: Site, peers: Peers) -> None:
    """A peer that sends commands and never reads the replies is cut off at the bound, as a slow reader."""
    peer = await slow_peer(site, peers, "bot")
    connection = connection_of(site, "slow")
    asked = b"[" + b",".join([b'{"type":"ping"}'] * limits.COMMANDS_PER_FRAME_MAX) + b"]"
    writing = asyncio.create_task(flood(peer, frame(asked)))
    await eventually(lambda: connection.closing)
    assert connection._queued_bytes < 2 * limits.WRITE_BYTES_MAX
    await eventually(lambda: not site.node.sessions.connections)
    assert await peer.status() == 101
    assert comes_back(await peer.closed() or 1_006)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert connection._goodbye[0] == Close.SLOW_READER


async def flood(peer: RawSocket, frame: bytes) -> None:
    """Send it again and again, as long as the peer takes it."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        for _ in range(10_000):
            await peer.write(frame)


async def test_a_peer_that_takes_nothing_for_long(
    small_bounds: None, site: Site, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that takes no byte is dropped in the end, though its server reports nothing."""
    monkeypatch.setattr(limits, "UNRESPONSIVE_S", 0.5)
    monkeypatch.setattr(limits, "CLOSE_LINGER_S", 0.1)
    bot = await site.join("bot", "bot")
    await slow_peer(site, peers)
    connection = connection_of(site, "slow")
    await more_than_is_buffered(bot)
    await eventually(lambda: connection not in site.node.sessions.connections)
    assert (await bot.ask("ping"))["type"] == "ok"


async def test_a_turn_that_comes_after_the_end() -> None:
    """Somebody who left while waiting for a turn to read costs the others nothing."""
    connection = PlainConnection(SimpleNamespace(), SimpleNamespace(), "json")  # type: ignore[arg-type]
    connection._turn = asyncio.get_running_loop().create_future()
    connection._turn.cancel()
    connection.read_out()
    assert connection._turn.cancelled()
