"""From a room's ring of recent events to its sockets: a tick's events are one frame, the same bytes for everybody.

A connection has a cursor into the ring and no queue of its own. While it is not writable it gets nothing. When it is
writable again, it catches up from its cursor; of what the ring no longer holds, it hears how much is hidden.
Nothing larger than a piece is written at once: the rest waits until the socket is writable.
"""

import asyncio
import bisect
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from protocol.closes import Close
from protocol.session import Notice
from protocol.wire import Codec, Delivery
from server import background, limits
from server.rooms.frames import Prepared, encode_message, encoded, encoded_replayed, join_messages
from server.rooms.history import Recorded
from server.rooms.pace import Pace
from server.rooms.ring import Ring


class Sink(Protocol):
    """A socket, as the outbox sees it."""

    codec: Codec
    paused: bool
    closing: bool

    def send(self, prepared: Prepared) -> None: ...
    def tell(self, message: bytes) -> None: ...
    def close(self, code: Close) -> None: ...


class Reader(Protocol):
    """A member with a socket and a cursor: the seq of the last event that was written to it.

    While its socket is writable, the cursor is where the others' are. Only a blocked socket puts a reader behind.
    """

    sink: Sink
    cursor: int
    due_to: int  # every event up to this seq is sent, however many there are
    replay_to: int  # events up to this seq are replayed, and marked so
    missed: Sequence[Recorded] | None  # the replayed events, if they are not the ring's


class _Round:
    """One flush: its last seq, how many events were hidden, whether it sheds load, its frames by codec and cursor.

    If more than a piece waited, `due_to` is the last seq that waited. The next flushes then follow at once.
    """

    __slots__ = ("began", "due_to", "frames", "hidden", "shedding", "since", "to", "writes")

    def __init__(self, began: float, since: int, to: int, due_to: int, hidden: int, *, shedding: bool) -> None:
        self.began = began  # loop time
        self.since = since  # the seq before its first event
        self.to = to
        self.due_to = due_to
        self.hidden = hidden
        self.shedding = shedding
        self.writes = 0
        self.frames: dict[tuple[Codec, int], Prepared | None] = {}


class Outbox:
    """One room's ring and its flushes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, readers: Callable[[], Collection[Reader]], pace: Pace) -> None:
        self._loop = loop
        self._readers = readers
        self._pace = pace
        self._share = pace.share()
        self._ring = Ring()
        self._flush_at: asyncio.TimerHandle | asyncio.Handle | None = None
        self._flushing = False
        self._flush_done = asyncio.Event()
        self._hidden = 0
        self._due_to = 0  # last seq that waited when the latest flush in pieces began
        self._pieces: dict[tuple[Codec, int, int], Prepared] = {}
        self.flushed_at = -1e9  # loop time of the last flush
        self.head = 0  # seq of the newest event
        self.flushed = 0  # every writable socket has at least this seq

    def begin(self, seq: int, recent: Sequence[Recorded] = ()) -> None:
        """Start (again) at `seq`, with the events before it for readers that resume."""
        self._ring.begin(seq, recent)
        self._pieces.clear()
        self.head = self.flushed = self._due_to = seq

    async def wait_flushed(self, seq: int) -> None:
        """Wait until the event `seq` was written to every socket that could take it."""
        while self.flushed < seq or self._flushing:
            self._flush_done.clear()  # so that it is set by a flush that ends after now
            await self._flush_done.wait()

    def record(self, event: Recorded) -> None:
        """Take the next event. It leaves with the next flush: at once in a quiet room, else with the tick."""
        assert event.seq == self.head + 1
        self.head = event.seq
        self._ring.append(event)
        self._share.event()
        if self.head - self.flushed == limits.FLUSH_EVENTS_MAX and self._flush_at is not None:
            self._flush_at.cancel()
            self._flush_at = None
        self._want_flush()

    def hide(self, count: int) -> None:
        """Tell everybody that this many droppable events were over the room's budget."""
        self._hidden += count
        self._want_flush()

    def after(self, seq: int, to: int) -> list[Recorded] | None:
        """The events after `seq` up to `to`, or None when the ring no longer holds them all."""
        return self._ring.after(seq, to)

    # --- flushing ----------------------------------------------------------------------------------------------
    def _want_flush(self) -> None:
        if self._flush_at is not None or self._flushing:
            return
        wait_s = self._share.wait_s(self._loop.time(), len(self._readers()))
        if wait_s <= 0 or self.flushed < self._due_to or self.head - self.flushed >= limits.FLUSH_EVENTS_MAX:
            self._flush_at = self._loop.call_soon(self._flush)
        else:
            self._flush_at = self._loop.call_later(wait_s, self._flush)

    def _flush(self) -> None:
        self._flush_at = None
        self._flushing = True
        self.flushed_at = self._loop.time()
        since, waiting = self.flushed, self.after(self.flushed, self.head)
        self.flushed = waiting[_piece_length(waiting) - 1].seq if waiting else self.head
        if self.flushed < self.head and self.flushed > self._due_to:
            self._due_to = self.head
        hidden, self._hidden = self._hidden, 0
        readers = list(self._readers())
        shedding = self._pace.slowest(len(readers))
        flush = _Round(self.flushed_at, since, self.flushed, self._due_to, hidden, shedding=shedding)
        self._flush_chunk(readers, 0, flush)

    def _flush_chunk(self, readers: list[Reader], start: int, flush: _Round) -> None:
        """Write to some sockets, then let the loop turn. Sockets with the same cursor share frames."""
        began = time.perf_counter()
        if start:
            self._take_newest(flush)
        writes = 0
        for reader in readers[start : start + limits.FLUSH_CHUNK]:
            sink = reader.sink
            if not (sink.paused or sink.closing or (reader.cursor >= flush.to and not flush.hidden)):
                writes += 1
                try:
                    self._write(reader, sink, flush)
                except Exception as error:  # if a flush stopped half way, the room would never flush again
                    background.failed("flush", error)
                    self._loop.call_soon(sink.close, Close.INTERNAL)
        flush.writes += writes
        self._pace.wrote(writes, time.perf_counter() - began)
        start += limits.FLUSH_CHUNK
        if start < len(readers):
            self._loop.call_soon(self._flush_chunk, readers, start, flush)
            return
        self._share.flushed(flush.began, flush.writes)
        self._flushing = False
        self._flush_done.set()
        if self.head > self.flushed or self._hidden:
            self._want_flush()

    def _take_newest(self, flush: _Round) -> None:
        """Write what came since the flush began to the sockets that it has not reached yet, if it is still a piece.

        Else who comes last in a large room would wait for the rest of this flush, and for all of the next.
        """
        if self.head == flush.to or flush.due_to > flush.to:
            return
        events = self.after(flush.since, self.head)
        if events and (to := events[_piece_length(events) - 1].seq) > flush.to:
            flush.to = to
            flush.frames.clear()

    def _write(self, reader: Reader, sink: Sink, flush: _Round) -> None:
        key = (sink.codec, reader.cursor)
        try:
            prepared = flush.frames[key]
        except KeyError:
            prepared = flush.frames[key] = self._prepare(sink.codec, reader.cursor, flush)
        if prepared is None:
            self.catch_up(reader)
            if flush.hidden and not (sink.paused or sink.closing):
                sink.send(Prepared(sink.codec, join_messages(sink.codec, [_hidden_notice(sink.codec, flush.hidden)])))
            return
        if flush.to > reader.cursor:
            reader.cursor = flush.to
            if flush.to < flush.due_to:
                reader.due_to = flush.due_to
        sink.send(prepared)

    def _prepare(self, codec: Codec, cursor: int, flush: _Round) -> Prepared | None:
        events = self.after(cursor, flush.to)
        if events is None:
            return None
        messages = encoded(codec, _coalesced(events) if flush.shedding else events)
        if flush.hidden:
            messages.append(_hidden_notice(codec, flush.hidden))
        return Prepared(codec, join_messages(codec, messages), shared=True)

    # --- one reader --------------------------------------------------------------------------------------------
    def greet(self, reader: Reader, hello: bytes, seq: int, missed: Sequence[Recorded]) -> None:
        """Write the welcome, then the missed events up to `seq`, then those that came since: one piece now, the rest
        as the socket takes it. The ring must still have the events after `seq`. Seqs may be missing among `missed`,
        and an event may say less than the ring's."""
        reader.cursor, reader.replay_to = missed[0].seq - 1 if missed else seq, seq
        reader.due_to = max(seq, self.flushed)
        if self.after(reader.cursor, seq) != [*missed]:
            reader.missed = missed
        self._write_piece(reader, [hello])
        self.catch_up(reader)

    def catch_up(self, reader: Reader) -> None:
        """Bring a reader that is writable (again) to where the others are, a piece at a time."""
        sink, to = reader.sink, max(self.flushed, reader.replay_to)
        while reader.cursor < to and not sink.paused and not sink.closing:
            self._write_piece(reader, [])

    def _write_piece(self, reader: Reader, ahead: list[bytes]) -> None:
        """Write these messages, followed by the next piece of events that the reader has not had."""
        sink, before = reader.sink, reader.cursor
        events = self._next_events(reader)
        if events is None:
            self._skip(reader, ahead)
            return
        if before >= reader.due_to and _bytes(events) > limits.WRITE_HIGH_BYTES:
            kept, hidden, reader.cursor = _thinned(events)
            ahead += encoded(sink.codec, kept)
            if hidden:
                ahead.append(_hidden_notice(sink.codec, hidden))
            prepared = Prepared(sink.codec, join_messages(sink.codec, ahead))
        else:
            piece = events[: _piece_length(events)]
            reader.cursor = piece[-1].seq if piece else before
            prepared = self._whole(reader, piece, ahead)
        if reader.missed is not None and reader.cursor >= reader.missed[-1].seq:
            reader.cursor, reader.missed = max(reader.cursor, reader.replay_to), None
        sink.send(prepared)

    def _skip(self, reader: Reader, ahead: list[bytes]) -> None:
        """Leave out what the ring no longer holds, but for what may never be dropped. Close who is too far behind."""
        sink, left = reader.sink, self._ring.left_behind(reader.cursor)
        if left is None:
            sink.close(Close.SLOW_READER)
            return
        kept, last = left
        if (size := _piece_length(kept)) < len(kept):
            kept, last = kept[:size], kept[size - 1].seq
        hidden = last - reader.cursor - len(kept)
        reader.cursor, reader.due_to = last, min(reader.due_to, last)
        ahead += encoded(sink.codec, kept)
        if hidden:
            ahead.append(_hidden_notice(sink.codec, hidden))
        sink.send(Prepared(sink.codec, join_messages(sink.codec, ahead)))

    def _next_events(self, reader: Reader) -> Sequence[Recorded] | None:
        """The reader's next events: those that it is due, else all. None when they are no longer kept."""
        if reader.missed is not None and reader.cursor < reader.replay_to:
            return reader.missed[bisect.bisect_right(reader.missed, reader.cursor, key=_seq) :]
        to = max(self.flushed, reader.replay_to)
        return self.after(reader.cursor, min(to, reader.due_to) if reader.cursor < reader.due_to else to)

    def _whole(self, reader: Reader, events: Sequence[Recorded], ahead: list[bytes]) -> Prepared:
        """A piece without thinning. Readers with the same cursor share it, unless it has messages of their own."""
        codec = reader.sink.codec
        replayed = bisect.bisect_right(events, reader.replay_to, key=_seq)
        key = (codec, events[0].seq, events[-1].seq) if events and not (ahead or replayed) else None
        if key is not None and key in self._pieces:
            return self._pieces[key]
        ahead += encoded_replayed(codec, events[:replayed])
        ahead += encoded(codec, events[replayed:])
        prepared = Prepared(codec, join_messages(codec, ahead))
        if key is not None:
            if len(self._pieces) >= limits.PIECES_KEPT:
                self._pieces.clear()
            self._pieces[key] = prepared
        return prepared

    def stop(self) -> None:
        if self._flush_at is not None:
            self._flush_at.cancel()
            self._flush_at = None


def _newest(events: Sequence[Recorded]) -> dict[str, int]:
    """For each type of which only the newest event matters: the seq of that event."""
    return {event.tag: event.seq for event in events if event.delivery is Delivery.LATEST}


def _coalesced(events: list[Recorded]) -> list[Recorded]:
    """The events without the counts and boards that a newer one replaces."""
    newest = _newest(events) if len(events) > 1 else None
    return [event for event in events if newest.get(event.tag, event.seq) == event.seq] if newest else events


def _bytes(events: Sequence[Recorded]) -> int:
    return sum(len(event.json) for event in events)


def _seq(event: Recorded) -> int:
    return event.seq


def _piece_length(events: Sequence[Recorded]) -> int:
    """How many events belong to the piece that begins with the first one."""
    size = 0
    for number, event in enumerate(events, 1):
        size += len(event.json)
        if size >= limits.PIECE_BYTES:
            return number
    return len(events)


def _thinned(events: Sequence[Recorded]) -> tuple[list[Recorded], int, int]:
    """A piece of a backlog that is too long for one socket: events to send, number of hidden events, last seq.

    It keeps every event of class KEPT, and the newest of each type of class LATEST.
    """
    newest = _newest(events)
    kept: list[Recorded] = []
    size = hidden = 0
    for event in events:
        if event.delivery is Delivery.DROPPABLE:
            hidden += 1
        elif newest.get(event.tag, event.seq) == event.seq:
            kept.append(event)
            size += len(event.json)
            if size >= limits.PIECE_BYTES:
                return kept, hidden, event.seq
    return kept, hidden, events[-1].seq


def _hidden_notice(codec: Codec, count: int) -> bytes:
    return encode_message(codec, Notice(kind="hidden", count=count))
