"""Bounds how much of a turn of the loop a node's sockets spend on reading. Sockets take slices in turn."""

import asyncio
import time
from collections import deque
from typing import Protocol

import structlog

from protocol.closes import Close
from server import limits

log = structlog.get_logger()


class Reader(Protocol):
    """A connection that holds unread bytes or messages of its peer."""

    def read_on(self, until: float) -> bool:
        """Handle one frame, then others until `until` (perf_counter's seconds). True if there may be more."""
        ...

    def read_out(self) -> None:
        """Nothing waits any longer: start reading from the peer again."""
        ...

    def close(self, code: Close) -> None: ...


class Turns:
    """One per node. Connections that would hold the loop too long wait in a line, and take one slice each in turn."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._line: deque[Reader] = deque()  # each connection at most once: it does not read while it waits
        self._left_s = self.share_s
        self._announced = False
        self.waits = 0

    @property
    def share_s(self) -> float:
        """How long a turn of the loop may read."""
        return limits.READ_TURN_S

    @property
    def waiting(self) -> int:
        """How many are in the line."""
        return len(self._line)

    @property
    def free(self) -> bool:
        """Whether nobody waits and time is left: what is short may then be done at once; `spent` counts its time."""
        return self._left_s > 0 and not self._line

    def spent(self, since: float) -> float:
        """Time has been spent since then (perf_counter's seconds); returns now."""
        if not self._announced:
            self._announce()
        now = time.perf_counter()
        self._left_s -= now - since
        return now

    def read(self, reader: Reader) -> bool:
        """Let it read now, if time is left and nobody waits. Else it waits: return False, and call `read_out` later."""
        if not self._announced:
            self._announce()
        if self._line or self._left_s <= 0 or self._slice(reader):
            self.wait(reader)
            return False
        return True

    def wait(self, reader: Reader) -> None:
        """Let it wait for its turn, behind the others."""
        if not self._announced:
            self._announce()
        self.waits += 1
        self._line.append(reader)

    def _announce(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._announced = True
        self._loop.call_soon(self.turn)

    def turn(self) -> None:
        """Begin a new turn of the loop, with new time. Those that wait come first; at least one gets a slice."""
        self._announced = False
        self._left_s = self.share_s
        if self._line:
            self._announce()
        while self._line:
            reader = self._line.popleft()
            if self._slice(reader):
                self._line.append(reader)
            else:
                reader.read_out()
            if self._left_s <= 0:
                break

    def _slice(self, reader: Reader) -> bool:
        began = time.perf_counter()
        try:
            return reader.read_on(began + self._left_s)
        except Exception:
            log.exception("read_failed")
            reader.close(Close.INTERNAL)
            return False
        finally:
            self._left_s -= time.perf_counter() - began


class Arrivals(Turns):
    """The same for HTTP, with a line and time of its own: a crowd must not hold up those who are in."""

    def __init__(self) -> None:
        super().__init__()
        self.held_bytes = 0  # by those in the line, who count them

    @property
    def share_s(self) -> float:
        return limits.HEADS_TURN_S

    def may_hold(self, size: int) -> bool:
        """Whether so many bytes may wait, too."""
        return self.held_bytes + size <= limits.UNREAD_BYTES_MAX
