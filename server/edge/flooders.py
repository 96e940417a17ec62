"""Who was closed for a flood, or often for bad frames, waits before the next socket: each time longer.

It counts by person and by address.
"""

from collections import OrderedDict

from msgspec import Struct

from server import limits


class _Record(Struct):
    """The floods, or bad frames, of one person or address. Times are the loop's, in seconds."""

    count: int
    last: float
    until: float


class Flooders:
    """Bounded: the one whose last flood is the oldest is forgotten first."""

    def __init__(self) -> None:
        self._records: OrderedDict[tuple[str, str], _Record] = OrderedDict()

    def flooded(self, kind: str, name: str, now: float) -> None:
        """Note a flood. An address may be many people's: its first floods make only the people wait."""
        count = self._count(kind, name, now)
        over = count - (limits.FLOODS_FREE_OF_ADDRESS if kind == "address" else 0)
        wait_s = min(limits.FLOOD_WAIT_S_MAX, limits.FLOOD_WAIT_S * 2.0 ** min(over - 1, 30)) if over > 0 else 0.0
        self._records[kind, name] = _Record(count, now, now + wait_s)

    def broke(self, user_id: str, now: float) -> bool:
        """Note bad frames of this person; whether they count as a flood. The first few do not."""
        return self._count("frames", user_id, now) > limits.BAD_FRAMES_FREE

    def _count(self, kind: str, name: str, now: float) -> int:
        """Count one more, and return how many there were lately."""
        record = self._records.pop((kind, name), None)
        count = record.count + 1 if record and now - record.last < limits.FLOOD_REMEMBERED_S else 1
        self._records[kind, name] = _Record(count, now, now)
        if len(self._records) > limits.FLOODERS_MAX:
            self._records.popitem(last=False)
        return count

    def wait_s(self, kind: str, name: str, now: float) -> float:
        """How long this one still has to wait; 0 for almost everybody."""
        record = self._records.get((kind, name))
        if record is None:
            return 0.0
        if now - record.last >= limits.FLOOD_REMEMBERED_S:
            del self._records[kind, name]
            return 0.0
        return max(0.0, record.until - now)
