"""From a room's ring of recent events to its sockets: a tick's events are one frame, the same bytes for everybody.

A connection has a cursor into the ring and no queue of its own. One that is not writable gets nothing; when it is
writable again it is caught up from its cursor, and behind the ring's end it is told to come back.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from protocol.closes import Close
from protocol.session import Notice
from protocol.wire import Codec, Delivery
from server import limits
from server.rooms.frames import Prepared, encode_message, encoded, join_messages
from server.rooms.history import Recorded, delivery_of
from server.rooms.pace import Pace


class Sink(Protocol):
    """A socket as the outbox sees it."""

    codec: Codec
    paused: bool
    closing: bool

    def send(self, prepared: Prepared) -> None: ...
    def tell(self, message: bytes) -> None: ...
    def close(self, code: Close) -> None: ...


class Reader(Protocol):
    """Somebody with a socket and a cursor: the seq of the last event that was written to it."""

    sink: Sink
    cursor: int


class _Round:
    """One flush: up to which seq, how many were left out, whether load is shed, the frames by codec and cursor."""

    __slots__ = ("frames", "hidden", "shedding", "to")

    def __init__(self, to: int, hidden: int, *, shedding: bool) -> None:
        self.to = to
        self.hidden = hidden
        self.shedding = shedding
        self.frames: dict[tuple[Codec, int], Prepared | None] = {}


class Outbox:
    """One room's ring and its flushes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, readers: Callable[[], Collection[Reader]], pace: Pace) -> None:
        self._loop = loop
        self._readers = readers
        self._pace = pace
        self._ring: list[Recorded] = []
        self._ring_bytes = 0
        self._flush_at: asyncio.TimerHandle | asyncio.Handle | None = None
        self._flushing = False
        self._flush_done = asyncio.Event()
        self._hidden = 0
        self.flushed_at = -1e9  # loop time of the last flush
        self.head = 0  # seq of the newest event
        self.flushed = 0  # everybody writable has at least this

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
        if self.head - self.flushed == limits.FLUSH_EVENTS_MAX and self._flush_at is not None:
            self._flush_at.cancel()
            self._flush_at = None
        self._want_flush()

    def hide(self, count: int) -> None:
        """So many droppable events never got a place in the room: everybody is told how many."""
        self._hidden += count
        self._want_flush()

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
    def _want_flush(self) -> None:
        if self._flush_at is not None or self._flushing:
            return
        wait_s = self.flushed_at + self._pace.tick_s(len(self._readers())) - self._loop.time()
        if wait_s <= 0 or self.head - self.flushed >= limits.FLUSH_EVENTS_MAX:
            self._flush_at = self._loop.call_soon(self._flush)
        else:
            self._flush_at = self._loop.call_later(wait_s, self._flush)

    def _flush(self) -> None:
        self._flush_at = None
        self._flushing = True
        self.flushed_at = self._loop.time()
        self.flushed = self.head
        hidden, self._hidden = self._hidden, 0
        readers = list(self._readers())
        self._flush_chunk(readers, 0, _Round(self.flushed, hidden, shedding=self._pace.slowest(len(readers))))

    def _flush_chunk(self, readers: list[Reader], start: int, flush: _Round) -> None:
        """Write to some sockets, then let the loop turn. Frames are shared by all with the same cursor."""
        began = time.perf_counter()
        chunk = readers[start : start + limits.FLUSH_CHUNK]
        for reader in chunk:
            sink = reader.sink
            if not (sink.paused or sink.closing or (reader.cursor >= flush.to and not flush.hidden)):
                self._write(reader, sink, flush)
        self._pace.wrote(len(chunk), time.perf_counter() - began)
        start += limits.FLUSH_CHUNK
        if start < len(readers):
            self._loop.call_soon(self._flush_chunk, readers, start, flush)
            return
        self._flushing = False
        self._flush_done.set()
        if self.head > self.flushed or self._hidden:
            self._want_flush()

    def _write(self, reader: Reader, sink: Sink, flush: _Round) -> None:
        key = (sink.codec, reader.cursor)
        try:
            prepared = flush.frames[key]
        except KeyError:
            prepared = flush.frames[key] = self._prepare(sink.codec, reader.cursor, flush)
        if prepared is None:
            sink.close(Close.SLOW_READER)
            return
        reader.cursor = max(reader.cursor, flush.to)
        sink.send(prepared)

    def _prepare(self, codec: Codec, cursor: int, flush: _Round) -> Prepared | None:
        events = self.after(cursor, flush.to)
        if events is None:
            return None
        messages = encoded(codec, _coalesced(events) if flush.shedding else events)
        if flush.hidden:
            messages.append(_hidden_notice(codec, flush.hidden))
        return Prepared(codec, join_messages(codec, messages), shared=True)

    # --- slow readers ------------------------------------------------------------------------------------------
    def catch_up(self, reader: Reader) -> None:
        """Bring one reader that is writable (again) to where the others are, a bounded piece at a time."""
        sink = reader.sink
        while reader.cursor < self.flushed and not sink.paused and not sink.closing:
            events = self.after(reader.cursor, self.flushed)
            if events is None:
                sink.close(Close.SLOW_READER)
                return
            shown, hidden, to = _piece(events)
            messages = encoded(sink.codec, shown)
            if hidden:
                messages.append(_hidden_notice(sink.codec, hidden))
            reader.cursor = to
            sink.send(Prepared(sink.codec, join_messages(sink.codec, messages)))

    def stop(self) -> None:
        if self._flush_at is not None:
            self._flush_at.cancel()
            self._flush_at = None


def _newest(events: Sequence[Recorded]) -> dict[str, int]:
    """The seq of the newest event of each type of which only the newest matters."""
    return {event.tag: event.seq for event in events if delivery_of(event.tag) is Delivery.LATEST}


def _coalesced(events: list[Recorded]) -> list[Recorded]:
    """The events without counts and boards that a newer one overtook."""
    newest = _newest(events) if len(events) > 1 else None
    return [event for event in events if newest.get(event.tag, event.seq) == event.seq] if newest else events


def _piece(events: Sequence[Recorded]) -> tuple[list[Recorded], int, int]:
    """The first part of a backlog for one socket: what is shown of it, how many are hidden, up to which seq.

    What fits a socket's buffer is shown whole. Of more: all that is kept, and the newest where only that matters.
    """
    thin = sum(len(event.json) for event in events) > limits.WRITE_HIGH_BYTES
    newest = _newest(events) if thin else {}
    shown: list[Recorded] = []
    size = hidden = 0
    for event in events:
        if thin and delivery_of(event.tag) is Delivery.DROPPABLE:
            hidden += 1
        elif newest.get(event.tag, event.seq) == event.seq:
            shown.append(event)
            size += len(event.json)
            if size >= limits.CATCH_UP_BYTES_MAX:
                return shown, hidden, event.seq
    return shown, hidden, events[-1].seq


def _hidden_notice(codec: Codec, count: int) -> bytes:
    return encode_message(codec, Notice(kind="hidden", count=count))
