"""A websocket client (RFC 6455, asyncio), lean enough that a core carries thousands of them."""

import asyncio
import base64
import os
import socket
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

from msgspec import Struct

from protocol.client import Frame

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
NO_MASK = bytes(4)  # zeros leave the payload as it is: safe, because only the measured server reads it
CLOSED_WITHOUT_CODE = 1006
SLOW_BYTES = 4_096


class NotAdmitted(Exception):
    """The server answered the upgrade with an HTTP error."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status} {body.decode(errors='replace')[:200]}")
        self.status = status


class Address(Struct, frozen=True):
    """Host and port of a server, from its URL."""

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, url: str) -> "Address":
        parts = urlsplit(url)
        tls = parts.scheme in ("https", "wss")
        return cls(parts.hostname or "127.0.0.1", parts.port or (443 if tls else 80), tls)


def upgrade(address: Address, path: str, subprotocol: str) -> bytes:
    """The HTTP request for a websocket. An empty subprotocol is left out."""
    key = base64.b64encode(os.urandom(16)).decode()
    offered = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{offered}\r\n"
    ).encode()


def masked(frame: Frame) -> bytes:
    """The bytes of a client's frame, masked."""
    payload = frame.encode() if isinstance(frame, str) else frame
    return _head(TEXT if isinstance(frame, str) else BINARY, len(payload)) + NO_MASK + payload


def _head(opcode: int, size: int) -> bytes:
    if size < 126:
        return bytes((0x80 | opcode, 0x80 | size))
    assert size < 1 << 16, "the server takes no frame of this size"
    return bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2)


class Socket(asyncio.Protocol):
    """One connection. `on_frame` gets each message, `closed` the close code."""

    def __init__(self, on_frame: Callable[[Frame], None]) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[int] = loop.create_future()
        self._on_frame = on_frame
        self._rest = b""
        self._code = CLOSED_WITHOUT_CODE
        self._transport: asyncio.Transport

    @classmethod
    async def connect(
        cls,
        address: Address,
        path: str,
        on_frame: Callable[[Frame], None],
        subprotocol: str = "liveroom.v1.json",
        on_made: "Callable[[Socket], None]" = lambda _socket: None,
    ) -> "Socket":
        """Calls `on_made` before the first frame can arrive. Raises NotAdmitted, OSError."""
        loop = asyncio.get_running_loop()
        made = lambda: cls(on_frame)  # noqa: E731  # a factory in place reads better than a name for it
        _, made_socket = await loop.create_connection(made, address.host, address.port, ssl=address.tls or None)
        on_made(made_socket)
        made_socket._write(upgrade(address, path, subprotocol))
        await made_socket.opened
        return made_socket

    def send(self, frame: Frame) -> None:
        self._write(masked(frame))

    def close(self) -> None:
        """Start the closing handshake; `closed` gets the code when the server has answered."""
        self._code = 1000
        self._write(_head(CLOSE, 2) + NO_MASK + (1000).to_bytes(2))

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():  # uvloop raises if it is closed
            self._transport.write(data)

    def abort(self) -> None:
        self._transport.abort()

    def stop_reading(self) -> None:
        """Like a sleeping phone: the kernel still takes a few KiB, then the server cannot write."""
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BYTES)
        self._transport.pause_reading()

    # --- asyncio's side ----------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(NotAdmitted(0, self._rest or b"closed in the handshake"))
        if not self.closed.done():
            self.closed.set_result(self._code)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if not self.opened.done():
            head, found, data = data.partition(b"\r\n\r\n")
            if not found or not self._admitted(head, data):
                self._rest = head + found + data
                return
        self._rest = data[self._frames(data) :]

    def _admitted(self, head: bytes, body: bytes) -> bool:
        status = int(head.split(b" ", 2)[1])
        if status == 101:
            self.opened.set_result(None)
            return True
        wanted = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        if len(body) >= wanted:
            self.opened.set_exception(NotAdmitted(status, body))
            self._transport.close()
        return False

    def _frames(self, data: bytes) -> int:
        """Handle every whole frame. Returns the number of bytes used. The server neither masks nor fragments."""
        at, size = 0, len(data)
        while size - at >= 2:
            opcode, length, body = data[at] & 0x0F, data[at + 1], at + 2
            if length >= 126:
                wide = 2 if length == 126 else 8
                if size < body + wide:
                    break
                length, body = int.from_bytes(data[body : body + wide]), body + wide
            if size < body + length:
                break
            at = body + length
            self._frame(opcode, data[body:at])
        return at

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self._on_frame(payload.decode())
        elif opcode == BINARY:
            self._on_frame(payload)
        elif opcode == PING:
            self._write(_head(PONG, len(payload)) + NO_MASK + payload)
        elif opcode == CLOSE:
            self._code = int.from_bytes(payload[:2]) if len(payload) >= 2 else 1005
            self._transport.close()
