"""Frames that a client may or must not send, and fakes for both sides of a connection."""

import asyncio
from typing import Any

from websockets.utils import apply_mask

from server.edge.socket import Connection
from server.edge.turns import Turns

MASK = b"\x01\x80\xfe\x37"
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def masked(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK, form: int = 0
) -> bytes:
    """One frame. `form` 126 or 127 uses a longer length field than needed; without a mask it is a server's frame."""
    size = len(payload)
    head = bytes(((0x80 if fin else 0) | rsv << 4 | opcode,))
    bit = 0 if mask is None else 0x80
    if size < 126 and not form:
        head += bytes((bit | size,))
    elif size < 1 << 16 and form != 127:
        head += bytes((bit | 126,)) + size.to_bytes(2)
    else:
        head += bytes((bit | 127,)) + size.to_bytes(8)
    return head + (payload if mask is None else mask + apply_mask(payload, mask))


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.let_go = False
        self.ended = False  # nothing more will be written
        self.reading = True

    def write(self, data: Any) -> None:
        assert not self.ended
        self.written += data

    def can_write_eof(self) -> bool:
        return False

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.let_go

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.let_go = True

    abort = close


class Heard:
    """A receiver that keeps what a connection passes on."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self.turns = Turns()

    def received(self, connection: Connection, opcode: int, payload: bytes) -> None:
        assert not connection.closing
        self.messages.append((opcode, bytes(payload)))

    def charge(self, connection: Connection, cost: int) -> None: ...
    def lost(self, connection: Connection) -> None: ...
    def writable(self, connection: Connection) -> None: ...
    def blamed(self, connection: Connection) -> None: ...


def feed(connection: Connection, heard: Heard, chunks: list[bytes]) -> None:
    """The peer sends these chunks; each is read before the next one comes."""
    for chunk in chunks:
        connection.data_received(chunk)
        heard.turns.turn()
        while connection._waits:
            heard.turns.turn()


def written_frames(data: bytes) -> list[tuple[int, bytes]]:
    """Splits unmasked control frames into opcode and payload."""
    frames = []
    while data:
        assert data[0] & 0xF0 == 0x80
        assert data[1] < 126
        frames.append((data[0] & 0x0F, data[2 : 2 + data[1]]))
        data = data[2 + data[1] :]
    return frames
