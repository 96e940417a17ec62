"""A websocket client of raw bytes: it sends what no library would, and can stay silent."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

TEXT, BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9
WAIT_S = 20.0


def frame(payload: bytes, opcode: int = TEXT, *, final: bool = True, mask: bool = True, bits: int = 0) -> bytes:
    """One client frame; without a mask or with reserved bits it violates RFC 6455."""
    size, masked = len(payload), 0x80 if mask else 0
    head = bytes(((0x80 if final else 0) | bits | opcode,))
    if size < 126:
        head += bytes((masked | size,))
    elif size < 1 << 16:
        head += bytes((masked | 126,)) + size.to_bytes(2)
    else:
        head += bytes((masked | 127,)) + size.to_bytes(8)
    if not mask:
        return head + payload
    key = os.urandom(4)
    stream = int.from_bytes(key * (size // 4 + 1)) >> 8 * (4 - size % 4)
    return head + key + (int.from_bytes(payload) ^ stream).to_bytes(size) if size else head + key


def upgrade(path: str, codec: str = "json", headers: Sequence[str] = ()) -> bytes:
    """The upgrade request."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: liveroom.v1.{codec}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


class RawSocket:
    """A TCP connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Write; ignore that a peer has hung up."""
        with contextlib.suppress(ConnectionError):
            await self.write(data)

    async def write(self, data: bytes) -> None:
        """Write. Raises ConnectionError when the peer has hung up, TimeoutError when it takes no more."""
        self._writer.write(data)
        await asyncio.wait_for(self._writer.drain(), WAIT_S)

    async def status(self) -> int:
        """The status of the answer to the upgrade; the headers are read as well."""
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), WAIT_S)
        return int(head.split(b" ", 2)[1])

    async def status_or_end(self) -> int | None:
        """The same, or None when the server hangs up instead."""
        try:
            return await self.status()
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def read_out(self) -> None:
        """Read until the end. Raises ConnectionResetError for an end that loses something."""
        async with asyncio.timeout(WAIT_S):
            while await self._reader.read(1 << 16):
                pass

    async def read_frame(self) -> tuple[int, bytes]:
        """The next server frame: opcode and payload."""
        async with asyncio.timeout(WAIT_S):
            first, second = await self._reader.readexactly(2)
            assert not second & 0x80, "a server does not mask"
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8))
            return first & 0x0F, await self._reader.readexactly(size)

    async def read_until(self, words: bytes) -> bytes:
        """Read on until a frame contains these bytes; return its payload. A pong contains the bytes of its ping."""
        while True:
            opcode, payload = await self.read_frame()
            assert opcode != CLOSE, payload
            if words in payload:
                return payload

    async def told_until(self, seq: int) -> list[dict[str, Any]]:
        """The messages of JSON frames, up to the one with this seq; a notice of hidden chats may follow it."""
        told: list[dict[str, Any]] = []
        while not any(message.get("seq", 0) >= seq for message in told):
            opcode, payload = await self.read_frame()
            assert opcode == TEXT, (opcode, payload)
            told += json.loads(payload)
        return told

    async def closed(self) -> int | None:
        """Read on until the server closes: its close code, or None when the connection just ends."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                opcode, payload = await self.read_frame()
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2])
        return None

    async def close(self) -> None:
        """Hang up without a close frame."""
        self._writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class Peers:
    """The raw sockets of a test, closed together."""

    def __init__(self) -> None:
        self._made: list[RawSocket] = []

    async def connect(self, port: int, *, receive_bytes: int | None = None) -> RawSocket:
        """Connect; `receive_bytes` sets a small buffer in the kernel."""
        sock = socket.socket()
        if receive_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        self._made.append(RawSocket(*await asyncio.open_connection(sock=sock, limit=receive_bytes or 2**16)))
        return self._made[-1]

    async def join(self, port: int, path: str, codec: str = "json") -> RawSocket:
        """Connect, upgrade, and read the first frame: the welcome."""
        peer = await self.connect(port)
        await peer.send(upgrade(path, codec))
        status = await peer.status()
        assert status == 101, status
        opcode, payload = await peer.read_frame()
        assert opcode in (TEXT, BINARY), (opcode, payload)
        return peer

    async def close(self) -> None:
        """Hang up all of them."""
        for peer in self._made:
            await peer.close()
