"""Server frames: made once, with the same bytes for every socket of a codec, and deflated at most once."""

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from protocol.wire import Codec
from server import limits
from server.rooms.history import Recorded

TEXT, BINARY = 0x1, 0x2
_RSV1 = 0x40  # the frame is deflated (RFC 7692, section 6)
_SYNC_TAIL = b"\x00\x00\xff\xff"  # the end of a sync flush; the receiver adds it (RFC 7692, section 7.2.1)


class TooLong(ValueError):
    """A message that inflates to more than is allowed."""


class Prepared:
    """One server frame: the payload, and the whole frame (RFC 6455, section 5.2; servers do not mask).

    Only a frame that many sockets share is deflated. A plain frame suits every socket (RFC 7692, section 6).
    """

    __slots__ = ("_deflated", "frame", "opcode", "payload")

    def __init__(self, codec: Codec, payload: bytes, *, shared: bool = False) -> None:
        self.payload = payload
        self.opcode = TEXT if codec == "json" else BINARY
        self.frame = frame_bytes(self.opcode, payload)
        self._deflated = None if shared and len(payload) >= limits.DEFLATE_BYTES_MIN else self.frame

    @property
    def deflated(self) -> bytes:
        """The frame for sockets with permessage-deflate; plain if deflating is not worth it."""
        if self._deflated is None:
            self._deflated = self._deflate()
        return self._deflated

    def _deflate(self) -> bytes:
        """Deflate without context from earlier frames (no_context_takeover), so that the bytes suit everybody."""
        packer = zlib.compressobj(limits.DEFLATE_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = packer.compress(self.payload) + packer.flush(zlib.Z_SYNC_FLUSH)
        return frame_bytes(_RSV1 | self.opcode, packed.removesuffix(_SYNC_TAIL))


def frame_bytes(opcode: int, payload: bytes) -> bytes:
    """An unfragmented, unmasked frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2) + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8) + payload


def inflate(packed: bytes, bytes_max: int) -> bytes:
    """Inflate a message that a peer deflated without context. Raises TooLong, or ValueError if it is invalid."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        payload = unpacker.decompress(packed + _SYNC_TAIL, bytes_max + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(payload) > bytes_max:
        raise TooLong
    return payload


def join_messages(codec: Codec, messages: Sequence[bytes]) -> bytes:
    """Join encoded messages into the array that makes one frame."""
    if codec == "json":
        return b"[" + b",".join(messages) + b"]"
    count = len(messages)
    if count < 16:
        head = bytes((0x90 | count,))
    else:
        head = b"\xdc" + count.to_bytes(2) if count < 1 << 16 else b"\xdd" + count.to_bytes(4)
    return head + b"".join(messages)


def encode_message(codec: Codec, message: Any) -> bytes:
    """Encode a message that is not an event."""
    return msgspec.json.encode(message) if codec == "json" else msgspec.msgpack.encode(message)


def encoded(codec: Codec, events: Iterable[Recorded]) -> list[bytes]:
    """The events in a codec. Each event is encoded only once."""
    return [event.json for event in events] if codec == "json" else [event.msgpack() for event in events]


def encoded_replayed(codec: Codec, events: Iterable[Recorded]) -> list[bytes]:
    """The same, marked as replayed. Only members who resume get these."""
    marked = [b'{"replayed":true,' + event.json[1:] for event in events]
    if codec == "json":
        return marked
    from protocol import to_msgpack  # noqa: PLC0415  # the package imports every feature

    return [to_msgpack(event) for event in marked]
