"""A room's recent events: all of the newest ones, and of those before them what may never be dropped."""

import bisect
from collections.abc import Sequence

from protocol.wire import Delivery
from server import limits
from server.rooms.history import Recorded


class Ring:
    """Bounded by count and bytes. Times and clocks play no part: a busy room's ring holds less time."""

    def __init__(self) -> None:
        self._events: list[Recorded] = []
        self._bytes = 0
        self._kept: list[Recorded] = []  # older ones, of class KEPT
        self._kept_bytes = 0
        self._kept_after = 0  # no older event of class KEPT is missing after this seq

    def begin(self, seq: int, recent: Sequence[Recorded]) -> None:
        """Start (again) with these events, which end at `seq`."""
        self._events, self._kept = list(recent), []
        self._bytes, self._kept_bytes = sum(len(event.json) for event in recent), 0
        self._kept_after = recent[0].seq - 1 if recent else seq

    def append(self, event: Recorded) -> None:
        """Take the next event."""
        self._events.append(event)
        self._bytes += len(event.json)
        if len(self._events) > limits.RING_EVENTS_MAX or self._bytes > limits.RING_BYTES_MAX:
            self._trim()

    def after(self, seq: int, to: int) -> list[Recorded] | None:
        """The events after `seq` up to `to`, or None when it no longer holds them all."""
        if seq >= to:
            return []
        if not self._events or seq + 1 < self._events[0].seq or to > self._events[-1].seq:
            return None
        base = self._events[0].seq
        return self._events[seq + 1 - base : to + 1 - base]

    def left_behind(self, seq: int) -> tuple[list[Recorded], int] | None:
        """What is still held of the events after `seq` and before all that `after` has, and the seq of the last.

        None when even an event of class KEPT is missing.
        """
        if seq < self._kept_after or not self._events:
            return None
        return self._kept[bisect.bisect_right(self._kept, seq, key=_seq) :], self._events[0].seq - 1

    def _trim(self) -> None:
        """Drop a tenth at once, because cutting a list's front moves the rest."""
        cut = max(1, len(self._events) // 10)
        gone = self._events[:cut]
        del self._events[:cut]
        self._bytes -= _bytes(gone)
        kept = [event for event in gone if event.delivery is Delivery.KEPT]
        self._kept += kept
        self._kept_bytes += _bytes(kept)
        while len(self._kept) > limits.RING_EVENTS_MAX or self._kept_bytes > limits.RING_BYTES_MAX:
            oldest = self._kept[: max(1, len(self._kept) // 10)]
            del self._kept[: len(oldest)]
            self._kept_bytes -= _bytes(oldest)
            self._kept_after = oldest[-1].seq


def _bytes(events: Sequence[Recorded]) -> int:
    return sum(len(event.json) for event in events)


def _seq(event: Recorded) -> int:
    return event.seq
