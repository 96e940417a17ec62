"""How much of what people missed is on its way to them: a storm of returns must not fill a node's memory.

Above the bound they get a gap and the snapshot, which is what a longer absence gets, too.
"""

import math
from collections.abc import Sequence

from server import limits
from server.edge.liveness import AnyConnection
from server.rooms.history import Recorded


class Replays:
    """One per node. A replay counts until its socket has taken it. Times are the loop's, in seconds."""

    def __init__(self) -> None:
        self._owed: dict[AnyConnection, int] = {}
        self._held = 0  # bytes that these have not taken yet
        self._looked_at = -math.inf
        self._paid_at = -math.inf  # when the rate has made up for what was sent
        self.sent = 0  # bytes so far
        self.left_out = 0  # returns whose replay did not fit

    @property
    def held(self) -> int:
        """Bytes that are promised to sockets and that they have not taken."""
        return self._held

    def fits(self, size: int, now: float) -> bool:
        """Whether so much more may be on its way. Large ones leave half of the room to those who missed little."""
        weight = 2 if size > limits.PIECE_BYTES else 1
        owed = max(0.0, self._paid_at - now) * limits.REPLAYS_BYTES_PER_S
        if weight * (owed + size) > limits.REPLAYS_BURST_BYTES:
            return False
        return weight * (self._held_now(size, now) + size) <= limits.REPLAYS_BYTES_MAX

    def holds(self, size: int, now: float) -> bool:
        """Whether there is memory for so much more. This is all that gifts behind a gap have to wait for."""
        return self._held_now(size, now) + size <= limits.REPLAYS_BYTES_MAX

    def begun(self, connection: AnyConnection, size: int, now: float) -> None:
        """Count a replay whose first piece was written."""
        self.sent += size
        self._paid_at = max(self._paid_at, now) + size / limits.REPLAYS_BYTES_PER_S
        if not _taken(connection):
            self._owed[connection] = size
            self._held += size

    def look(self, now: float) -> None:
        """Forget those that have been taken, and those whose sockets are gone."""
        self._looked_at = now
        for connection in [each for each in self._owed if _taken(each)]:
            self._held -= self._owed.pop(connection)

    def _held_now(self, size: int, now: float) -> int:
        if 2 * (self._held + size) > limits.REPLAYS_BYTES_MAX and now - self._looked_at >= limits.REPLAYS_LOOK_S:
            self.look(now)
        return self._held


def size_of(events: Sequence[Recorded]) -> int:
    """The bytes of these events, as they are sent."""
    return sum(len(event.json) for event in events)


def _taken(connection: AnyConnection) -> bool:
    if connection.unsent > limits.WRITE_LOW_BYTES:
        return False
    return connection.closing or connection.member.cursor >= connection.member.replay_to
