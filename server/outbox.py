"""From a room's ring of recent events to its sockets: a tick's events are one frame, the same bytes for everybody.

A connection has a cursor into the ring and no queue of its own. One that is not writable gets nothing; when it is
writable again it is caught up from its cursor, and behind the ring's end it is told to come back.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from protocol.closes import Close
from protocol.wire import Codec
from server import limits
from server.history import Recorded

TEXT, BINARY = 0x1, 0x2


class Prepared:
    """One server frame: the payload, and with its header (RFC 6455, section 5.2; servers do not mask)."""

    __slots__ = ("frame", "opcode", "payload")

    def __init__(self, codec: Codec, payload: bytes) -> None:
        self.payload = payload
        self.opcode = TEXT if codec == "json" else BINARY
        self.frame = frame_bytes(self.opcode, payload)


def frame_bytes(opcode: int, payload: bytes) -> bytes:
    """An unfragmented, unmasked frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2) + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8) + payload


def join_messages(codec: Codec, messages: Sequence[bytes]) -> bytes:
    """The array of messages that one frame is, from messages encoded before."""
    if codec == "json":
        return b"[" + b",".join(messages) + b"]"
    count = len(messages)
    if count < 16:
        head = bytes((0x90 | count,))
    else:
        head = b"\xdc" + count.to_bytes(2) if count < 1 << 16 else b"\xdd" + count.to_bytes(4)
    return head + b"".join(messages)


class Sink(Protocol):
    """A socket as the outbox sees it."""

    codec: Codec
    paused: bool
    closing: bool

    def send(self, prepared: Prepared) -> None: ...
    def close(self, code: Close) -> None: ...


class Reader(Protocol):
    """Somebody with a socket and a cursor: the seq of the last event that was written to it."""

    sink: Sink
    cursor: int


class Outbox:
    """One room's ring and its flushes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, readers: Callable[[], Iterable[Reader]]) -> None:
        self._loop = loop
        self._readers = readers
        self._ring: list[Recorded] = []
        self._ring_bytes = 0
        self._flush_at: asyncio.TimerHandle | asyncio.Handle | None = None
        self._flushing = False
        self._flush_done = asyncio.Event()
        self.flushed_at = -1e9  # loop time of the last flush
        self.head = 0  # seq of the newest event
        self.flushed = 0  # everybody writable has at least this
        self.delivered = 0

    def begin(self, seq: int, recent: Sequence[Recorded] = ()) -> None:
        """Start (again) at `seq`, with what went before it for those who resume."""
        self._ring = list(recent)
        self._ring_bytes = sum(len(event.json) for event in recent)
        self.head = self.flushed = seq

    async def wait_flushed(self, seq: int) -> None:
        """Until the event `seq` was written to every socket that could take it."""
        while self.flushed < seq or self._flushing:
            self._flush_done.clear()  # then it means: a flush has ended since
            await self._flush_done.wait()

    def record(self, event: Recorded) -> None:
        """Take the next event; it leaves with the next flush: at once in a quiet room, else with the tick."""
        assert event.seq == self.head + 1
        self.head = event.seq
        self._ring.append(event)
        self._ring_bytes += len(event.json)
        if len(self._ring) > limits.RING_EVENTS_MAX or self._ring_bytes > limits.RING_BYTES_MAX:
            self._trim()
        if self._flush_at is None and not self._flushing:
            self._schedule()

    def _trim(self) -> None:
        """Drop a tenth at once: cutting a list's front moves the rest."""
        cut = max(1, len(self._ring) // 10)
        self._ring_bytes -= sum(len(event.json) for event in self._ring[:cut])
        del self._ring[:cut]

    def after(self, seq: int, to: int) -> list[Recorded] | None:
        """The events after `seq` up to `to`, or None when the ring no longer holds them all."""
        if seq >= to:
            return []
        if not self._ring or seq + 1 < self._ring[0].seq or to > self.head:
            return None
        base = self._ring[0].seq
        return self._ring[seq + 1 - base : to + 1 - base]

    # --- flushing ----------------------------------------------------------------------------------------------
    def _schedule(self) -> None:
        wait_s = self.flushed_at + limits.TICK_MS / 1000 - self._loop.time()
        if wait_s <= 0:
            self._flush_at = self._loop.call_soon(self._flush)
        else:
            self._flush_at = self._loop.call_later(wait_s, self._flush)

    def _flush(self) -> None:
        self._flush_at = None
        self._flushing = True
        self.flushed_at = self._loop.time()
        before, self.flushed = self.flushed, self.head
        readers = list(self._readers())
        self._flush_chunk(readers, 0, before, self.flushed, {})

    def _flush_chunk(
        self,
        readers: list[Reader],
        start: int,
        before: int,
        to: int,
        frames: dict[tuple[Codec, int], Prepared | None],
    ) -> None:
        """Write to some sockets, then let the loop turn. `frames` are shared by all with the same cursor."""
        for reader in readers[start : start + limits.FLUSH_CHUNK]:
            sink = reader.sink
            if sink.paused or sink.closing or reader.cursor >= to:
                continue
            self._write(reader, sink, to, frames)
        start += limits.FLUSH_CHUNK
        if start < len(readers):
            self._loop.call_soon(self._flush_chunk, readers, start, before, to, frames)
            return
        self._flushing = False
        self._flush_done.set()
        if self.head > self.flushed:
            self._schedule()

    def _write(self, reader: Reader, sink: Sink, to: int, frames: dict[tuple[Codec, int], Prepared | None]) -> None:
        key = (sink.codec, reader.cursor)
        try:
            prepared = frames[key]
        except KeyError:
            prepared = frames[key] = self._prepare(sink.codec, reader.cursor, to)
        if prepared is None:
            sink.close(Close.SLOW_READER)
            return
        self.delivered += to - reader.cursor
        reader.cursor = to
        sink.send(prepared)

    def _prepare(self, codec: Codec, cursor: int, to: int) -> Prepared | None:
        events = self.after(cursor, to)
        return None if events is None else Prepared(codec, join_messages(codec, encoded(codec, events)))

    def catch_up(self, reader: Reader) -> None:
        """Bring one reader that is writable (again) to where the others are, a bounded piece at a time."""
        sink = reader.sink
        while reader.cursor < self.flushed and not sink.paused and not sink.closing:
            events = self.after(reader.cursor, self.flushed)
            if events is None:
                sink.close(Close.SLOW_READER)
                return
            size, count = 0, 0
            for event in events:
                size, count = size + len(event.json), count + 1
                if size >= limits.CATCH_UP_BYTES_MAX:
                    break
            reader.cursor += count
            self.delivered += count
            sink.send(Prepared(sink.codec, join_messages(sink.codec, encoded(sink.codec, events[:count]))))

    def stop(self) -> None:
        if self._flush_at is not None:
            self._flush_at.cancel()
            self._flush_at = None


def encoded(codec: Codec, events: Iterable[Recorded]) -> list[bytes]:
    """The events in a codec, each encoded once in its life."""
    return [event.json for event in events] if codec == "json" else [event.msgpack() for event in events]


def encoded_replayed(codec: Codec, events: Iterable[Recorded]) -> list[bytes]:
    """The same, marked as replayed: only those who resume get them."""
    marked = [b'{"replayed":true,' + event.json[1:] for event in events]
    if codec == "json":
        return marked
    from protocol import to_msgpack  # noqa: PLC0415  # the package imports every feature

    return [to_msgpack(event) for event in marked]
