"""Floods of frames that are not commands, on real sockets: they end with 4502, and others get replies meanwhile."""

import asyncio
import contextlib
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from protocol.closes import Close
from server import limits
from tests.conftest import Stores
from tests.frames import BINARY, CONT, PING, PONG, TEXT, masked
from tests.journeys.raw import Peers, RawSocket, upgrade
from tests.site import Site
from tests.stores import settings

FLOOD_BYTES = 2 * 1024 * 1024
TURN_S_MAX = 0.5  # without a bound on reading it was up to 20 s; 30 flooders in the same loop now take 0.1 s
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover"


class Kind(Struct, frozen=True):
    """What is sent repeatedly, and what is sent once before it."""

    frame: bytes
    before: bytes = b""
    codec: str = "json"


def deflated(message: bytes) -> bytes:
    """A text message as permessage-deflate sends it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return masked(TEXT, (packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4], rsv=4)


def blanks(size: int) -> bytes:
    return b"[" + b" " * (size - 2) + b"]"


def nothing_deflated(size: int) -> bytes:
    """Empty blocks, each with a code table, and an empty array: 16 KiB of them take 2.3 ms to inflate."""
    zeros = "1" + format(138 - 11, "07b")[::-1], "1" + format(118 - 11, "07b")[::-1]
    lengths = {0: 0, 18: 1, 1: 1}
    order = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)
    block = "0" + "01" + "00000" + "00000" + format(len(order) - 4, "04b")[::-1]
    block += "".join(format(lengths.get(symbol, 0), "03b")[::-1] for symbol in order)
    block += zeros[0] + zeros[1] + "0" + "0" + "0"
    bits = block * ((size - 8) * 8 // len(block)) + "000"
    bits += "0" * (-len(bits) % 8)
    packed = bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))
    return masked(TEXT, packed + b"\x02\x00\xfd\xff[]" + b"\x00", rsv=4)


SEEN = {  # also on servers that give us only messages
    "empty arrays": Kind(masked(TEXT, b"[]")),
    "empty arrays of msgpack": Kind(masked(BINARY, b"\x90"), codec="msgpack"),
    "blanks": Kind(masked(TEXT, blanks(limits.FRAME_BYTES_MAX))),
    "deflated blanks": Kind(deflated(blanks(limits.FRAME_BYTES_MAX))),
    "commands": Kind(masked(TEXT, b'{"type":"ping"}')),
}
KINDS = SEEN | {
    "pings": Kind(masked(PING, b"")),
    "long pings": Kind(masked(PING, b"x" * 125)),
    "pongs": Kind(masked(PONG, b"")),
    "empty continuations": Kind(masked(CONT, fin=False), before=masked(TEXT, b"[", fin=False)),
    "deflated nothing": Kind(nothing_deflated(limits.FRAME_BYTES_MAX)),
}


class Watch:
    """How long the loop's longest turn took, in CPU time of its thread: other processes must not count."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._turned = time.thread_time()
        self._handle = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        now = time.thread_time()
        self.longest_s = max(self.longest_s, now - self._turned)
        self._turned = now
        self._handle = self._loop.call_soon(self._turn)

    def stop(self) -> None:
        self._handle.cancel()


@contextlib.contextmanager
def watched() -> Any:
    watch = Watch()
    try:
        yield watch
    finally:
        watch.stop()


async def join(site: Site, peers: Peers, kind: Kind, user: str = "eve", role: str = "viewer") -> RawSocket:
    """A welcomed peer that accepts deflated messages."""
    path = "/" + site.address(token=site.token(user, role)).split("/", 3)[3]
    peer = await peers.connect(site.port)
    await peer.send(upgrade(path, kind.codec, [DEFLATE]))
    assert await peer.status() == 101
    await peer.read_frame()
    return peer


async def flood(peer: RawSocket, kind: Kind, *, count: int | None = None, early: bool = False) -> int | None:
    """Send until the server hangs up or all frames are sent; return the close code. `early` does not wait for 101."""

    async def write() -> None:
        chunk = kind.frame * each
        with contextlib.suppress(ConnectionError, TimeoutError):
            await peer.write(kind.before)
            for _ in range(0, count or FLOOD_BYTES // len(kind.frame), each):
                await peer.write(chunk)

    each = max(1, 65_536 // len(kind.frame)) if count is None else 10
    writing = asyncio.create_task(write())
    try:
        if early:
            assert await peer.status() == 101
        return await peer.closed()
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    made = Peers()
    yield made
    await made.close()


# --- our own server ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", KINDS)
async def test_a_flood_ends(name: str, site: Site, peers: Peers) -> None:
    """Whatever it consists of, the socket is closed as for a flood of commands, and nobody waits for it."""
    viewer = await site.join("alice", "bot")
    eve = await join(site, peers, KINDS[name])
    with watched() as watch:
        flooding = asyncio.create_task(flood(eve, KINDS[name]))
        while not flooding.done():
            assert (await viewer.ask("ping"))["type"] == "ok"
        assert await flooding == Close.PROTOCOL_ERROR
    assert watch.longest_s < TURN_S_MAX
    assert site.node.sessions.commands.floods == 1


async def test_many_floods_end_together(site: Site, peers: Peers) -> None:
    """Three floods of every kind at once take no more of a turn than one."""
    viewer = await site.join("alice", "bot")
    kinds = [kind for kind in KINDS.values() for _ in range(3)]
    floods = [await join(site, peers, kind, f"eve-{number}") for number, kind in enumerate(kinds)]
    with watched() as watch:
        flooding = asyncio.gather(*(flood(peer, kind) for peer, kind in zip(floods, kinds, strict=True)))
        while not flooding.done():
            assert (await viewer.ask("ping"))["type"] == "ok"
        assert await flooding == [Close.PROTOCOL_ERROR] * len(kinds)
    assert watch.longest_s < TURN_S_MAX
    assert site.node.sessions.commands.floods == len(kinds)


async def test_a_bots_budget_takes_turns(site: Site, peers: Peers) -> None:
    """Thousands of frames at once, within a bot's budget, are answered over many turns of the loop."""
    viewer, bot = await site.join("alice", "bot"), await join(site, peers, KINDS["pings"], "bot", "bot")
    await bot.send(masked(PING, b"one of many") * 4_000 + masked(PING, b"the last"))
    assert (await viewer.ask("ping"))["type"] == "ok"
    await bot.read_until(b"the last")
    assert site.node.sessions.turns.waits > 0


async def test_a_flood_that_does_not_wait_for_the_handshake(site: Site, peers: Peers) -> None:
    """None of it is parsed: it gets 4502 right after the 101."""
    viewer = await site.join("alice", "bot")
    peer = await peers.connect(site.port)
    with watched() as watch:
        await peer.send(upgrade("/" + site.address(token=site.token("eve")).split("/", 3)[3]))
        flooding = asyncio.create_task(flood(peer, KINDS["pings"], early=True))
        while not flooding.done():
            assert (await viewer.ask("ping"))["type"] == "ok"
        assert await flooding == Close.PROTOCOL_ERROR
    assert watch.longest_s < TURN_S_MAX


# --- what is not a flood -------------------------------------------------------------------------------------------
async def test_pings_and_fragments_are_not_a_flood(site: Site, peers: Peers) -> None:
    """A minute's worth of one ping a second and chats in pieces, all at once, is answered as usual."""
    peer = await join(site, peers, KINDS["commands"])
    for number in range(20):
        await peer.send(masked(PING, b"p%d" % number) * 2 + masked(PONG, b""))
        pieces = [b'{"type":"pi', b'ng","ref"', b':"r%d"}' % number]
        await peer.send(masked(TEXT, pieces[0], fin=False) + masked(PING, b"within"))
        await peer.send(masked(CONT, pieces[1], fin=False) + masked(CONT, pieces[2]))
        reply = await peer.read_until(b'"ref":"r%d"' % number)
        assert b'"type":"ok"' in reply
    assert site.node.sessions.commands.floods == 0


async def test_long_messages_cost_their_inflated_size(
    site: Site, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 bytes that inflate to 16 KiB cost as much as nine commands; a deflated command costs one."""
    monkeypatch.setattr(limits, "COMMANDS_PER_S", 1e-6)
    peer = await join(site, peers, KINDS["deflated blanks"])
    (member,) = [each.member for each in site.node.sessions.connections]
    had = member.allowance._tokens
    ping = deflated(b'{"type":"ping","ref":"small"}')
    await peer.send(ping)
    await peer.read_until(b'"ref":"small"')
    assert round(had - member.allowance._tokens, 3) == 1
    await peer.send(KINDS["deflated blanks"].frame + ping)
    await peer.read_until(b'"ref":"small"')
    assert round(had - member.allowance._tokens, 3) == 1 + 9 + 1


# --- other servers -------------------------------------------------------------------------------------------------
@pytest.fixture
async def plain_site(stores: Stores, journal: str, tmp_path: Path) -> AsyncIterator[Site]:
    """A node behind uvicorn's own websockets."""
    made = Site(
        settings(
            tmp_path,
            LIVEROOM_WALLET_URL=f"unix://{stores.wallet.socket}",
            LIVEROOM_ROOM_URL=f"unix://{stores.room.socket}",
            LIVEROOM_JOURNAL_URL=journal,
            LIVEROOM_LOG="warning",
        )
    )
    made.server.config.ws = "websockets-sansio"
    made.server.config.ws_per_message_deflate = True
    await made.start()
    yield made
    await made.stop()


@pytest.mark.parametrize("name", SEEN)
async def test_a_flood_ends_on_another_server(name: str, plain_site: Site, peers: Peers) -> None:
    """Where we get only messages, a flood of them ends too. What that server reads ahead we cannot bound."""
    viewer = await plain_site.join("alice", "bot")
    eve = await join(plain_site, peers, SEEN[name])
    flooding = asyncio.create_task(flood(eve, SEEN[name], count=1_000))
    while not flooding.done():
        assert (await viewer.ask("ping"))["type"] == "ok"
    assert await flooding == Close.PROTOCOL_ERROR
    assert plain_site.node.sessions.commands.floods == 1
