"""Whether too many people come at once. Then they are asked to come back one after the other, before it hurts.

What hurts is waiting: those who were accepted share the loop with everybody else, and the kernel queues the others.
"""

import math
import socket
import sys
from collections.abc import Iterable

from server import limits

_LISTENS = 10  # TCP_LISTEN (tcp_states.h)


class Crowd:
    """One per node. Times are the loop's, in seconds."""

    def __init__(self) -> None:
        self._listeners: list[socket.socket] = []
        self._over = False
        self._last_back_at = -math.inf  # when the last of those is expected that were asked to come back
        self.turned_away = 0

    def watch(self, listeners: Iterable[socket.socket]) -> None:
        """Count those who wait at these sockets until we accept them."""
        self._listeners = list(listeners)

    def stay_away_s(self, joining: int, now: float, unread: int = 0) -> float | None:
        """How long somebody who comes now must stay away; None for who may come in.

        `joining` have no welcome yet. The requests of `unread` others wait for their turn: those get one in order, and
        to be asked to come back would cost most of them more time.
        """
        waiting, most = joining, limits.CROWD_MAX
        for listener in self._listeners:
            queued, places = queue_of(listener)
            waiting += queued
            most = min(most, places // 2) if places else most
        share = 0.5 if self._over else 1.0
        self._over = waiting >= int(most * share) or unread >= limits.UNREAD_MAX * share
        return self.place_s(now) if self._over else None

    def place_s(self, now: float) -> float:
        """A place in the row of those who come back: each has a time of its own, so that they do not come at once."""
        self.turned_away += 1
        first = now + limits.RETURN_S_MIN
        back_at = max(self._last_back_at, first) + 1 / limits.RETURNS_PER_S
        if back_at > now + limits.RETURN_S_MAX:
            back_at = first
        self._last_back_at = back_at
        return back_at - now


def queue_of(listener: socket.socket) -> tuple[int, int]:
    """How many connections wait to be accepted, and how many may; zeros where the system does not say (tcp(7)).

    Of a listening socket, Linux tells them in `tcpi_unacked` and `tcpi_sacked`.
    """
    try:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    except (AttributeError, OSError):
        return 0, 0
    if len(info) < 32 or info[0] != _LISTENS:
        return 0, 0
    return int.from_bytes(info[24:28], sys.byteorder), int.from_bytes(info[28:32], sys.byteorder)
