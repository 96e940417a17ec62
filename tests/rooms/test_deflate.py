"""Compression on the wire: no contexts, one deflating for everybody, and no deflate bomb."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from protocol.closes import Close
from server import limits
from tests.journeys.raw import TEXT, Peers, frame, upgrade
from tests.site import Site, Viewer

CHATS = 200
Join = Callable[..., Awaitable[tuple[Viewer, list[int]]]]


@pytest.fixture
def join(site: Site) -> Join:
    """Join with the given extension; the viewer, and the sizes of what came over its connection."""

    async def one(codec: str, factory: ClientPerMessageDeflateFactory | None, user: str = "bob") -> Any:
        connection = await websockets.connect(
            site.address(token=site.token(user)),
            subprotocols=[websockets.Subprotocol(f"liveroom.v1.{codec}")],
            extensions=[factory] if factory else None,
            compression=None,
            proxy=None,
        )
        sizes: list[int] = []
        read = connection.data_received

        def count(data: bytes) -> None:
            sizes.append(len(data))
            read(data)

        connection.data_received = count  # type: ignore[method-assign]
        viewer = Viewer(connection, codec)
        site.viewers.append(viewer)
        await viewer.happened("welcome")
        return viewer, sizes

    return one


async def storm(site: Site, *viewers: Viewer) -> None:
    """Many lines of chat, in frames of many, until all of these viewers have them."""
    bot = await site.join("bot", "bot")
    lines = [f"line {n}: what a show this is, greetings from {n * 7919 % 1000}" for n in range(CHATS)]
    for first in range(0, CHATS, limits.COMMANDS_PER_FRAME_MAX):
        part = lines[first : first + limits.COMMANDS_PER_FRAME_MAX]
        await bot.tell([{"type": "chat.send", "ref": text[:9], "text": text} for text in part])
        await bot.until(lambda told, first=first: sum(m["type"] == "ok" for m in told) >= first)
    for viewer in (*viewers, bot):
        await viewer.until(lambda _, viewer=viewer: len(viewer.events("chat.sent")) == CHATS)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_storm_of_chat_is_compressed(site: Site, join: Join, codec: str) -> None:
    """At most 40 % of the bytes, and the very same events in the same order."""
    small, deflated = await join(codec, ClientPerMessageDeflateFactory())
    plain, whole = await join(codec, None, "alice")
    before = sum(deflated), sum(whole)
    await storm(site, small, plain)
    assert small.events("chat.sent") == plain.events("chat.sent")
    assert sum(deflated) - before[0] <= 0.4 * (sum(whole) - before[1])


async def test_what_is_agreed(join: Join) -> None:
    """Neither side keeps a context, asked for or not; a client's own wish for its window is granted."""
    for factory in (
        ClientPerMessageDeflateFactory(),
        ClientPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True),
        ClientPerMessageDeflateFactory(server_max_window_bits=10, client_max_window_bits=10),
    ):
        viewer, _ = await join("json", factory)
        assert viewer.connection.response is not None
        agreed = viewer.connection.response.headers["Sec-WebSocket-Extensions"]
        assert {"server_no_context_takeover", "client_no_context_takeover"} <= set(agreed.split("; ")), agreed
        assert (await viewer.ask("chat.send", text="a long line " * 30))["type"] == "ok"
        assert (await viewer.happened("chat.sent"))["text"] == ("a long line " * 30).strip()
        await viewer.leave()


async def test_a_smaller_window_gets_plain_frames(site: Site, join: Join) -> None:
    """A frame deflated for everybody needs the whole window; a client with a smaller one gets the plain bytes."""
    narrow, sizes = await join("json", ClientPerMessageDeflateFactory(server_max_window_bits=10))
    plain, whole = await join("json", None, "alice")
    before = sum(sizes), sum(whole)
    await storm(site, narrow, plain)
    assert sum(sizes) - before[0] == pytest.approx(sum(whole) - before[1], rel=0.1)


def deflated(payload: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


RSV1, RSV2 = 0x40, 0x20
PING_COMMAND = deflated(b'{"type":"ping","ref":"deflated"}')


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame(PING_COMMAND, bits=RSV1)], None),
        ([frame(PING_COMMAND[:7], bits=RSV1, final=False), frame(PING_COMMAND[7:], 0)], None),
        ([frame(b'{"type":"ping","ref":"deflated"}')], None),
        ([frame(deflated(b" " * limits.FRAME_BYTES_MAX), bits=RSV1)], Close.PROTOCOL_ERROR),
        ([frame(deflated(b"[" + b" " * 10_000_000), bits=RSV1)], Close.TOO_BIG),
        ([frame(b"\xff\xff\xff\xff", bits=RSV1)], Close.BAD_FRAME),
        ([frame(PING_COMMAND, bits=RSV2)], Close.BAD_FRAME),
        ([frame(PING_COMMAND, bits=RSV1 | RSV2)], Close.BAD_FRAME),
        ([frame(b"", 0x9, bits=RSV1)], Close.BAD_FRAME),
        ([frame(PING_COMMAND[:7], bits=RSV1, final=False), frame(PING_COMMAND[7:], 0, bits=RSV1)], Close.BAD_FRAME),
    ],
    ids=[
        "whole",
        "in fragments",
        "plain",
        "nothing but blanks",
        "a bomb",
        "not deflated",
        "RSV2",
        "two bits",
        "a control frame",
        "the bit again",
    ],
)
async def test_deflated_commands(site: Site, peers: Peers, frames: list[bytes], code: Close | None) -> None:
    """A deflated command works. One that does not inflate, or is too large then, closes with the protocol's code."""
    peer = await peers.connect(site.port)
    path = site.address(token=site.token("bob")).partition(str(site.port))[2]
    await peer.send(upgrade(path, headers=["Sec-WebSocket-Extensions: permessage-deflate"]))
    assert await peer.status() == 101
    for each in frames:
        await peer.send(each)
    if code is None:
        assert b'"ref":"deflated"' in await peer.read_until(b'"deflated"')
    else:
        assert await peer.closed() == code


async def test_a_bit_that_was_not_agreed(site: Site, peers: Peers) -> None:
    """Without the extension a deflated frame is a frame with a reserved bit."""
    path = site.address(token=site.token("bob")).partition(str(site.port))[2]
    peer = await peers.join(site.port, path)
    await peer.send(frame(PING_COMMAND, TEXT, bits=RSV1))
    assert await peer.closed() == Close.BAD_FRAME


async def test_bytes_arrive_unchanged(site: Site, join: Join) -> None:
    """Frames of every size around the bound from which deflating pays arrive whole, one after the other."""
    viewer, _ = await join("json", ClientPerMessageDeflateFactory())
    other = await site.join("alice")
    for size in (1, 60, 100, 200, 300, 500):
        await other.ask("chat.send", text="x" * size)
    async with asyncio.timeout(20):
        await viewer.until(
            lambda _: [len(e["text"]) for e in viewer.events("chat.sent")] == [1, 60, 100, 200, 300, 500]
        )
