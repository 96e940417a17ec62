"""A turn of the audit: all of something is verified a part at a time, within a stated time."""

import math
import sys

from msgspec import Struct

from server import limits


class Turn(Struct):
    """How far a turn is, and since when all of it has been verified."""

    at: str = ""  # where the next part begins
    seen: int = 0  # in this turn
    begun_ms: int | None = None  # this turn; None between two
    size: int | None = None  # what the last whole turn saw; None before the first
    verified_ms: int | None = None  # when the last whole turn began: everything in it has been verified since

    def begin(self, now_ms: int) -> None:
        """Begin a turn, unless one is under way."""
        if self.begun_ms is None:
            self.begun_ms, self.at, self.seen = now_ms, "", 0

    def end(self) -> None:
        """The turn has reached its end."""
        self.size, self.verified_ms, self.begun_ms = self.seen, self.begun_ms, None

    def forget(self) -> None:
        """Let the next `begin` start again, as if there had been no turn."""
        self.begun_ms = self.size = None

    def share(self, passed_s: float) -> int:
        """How many to verify now, so that a turn takes AUDIT_TURN_S. Before the first whole turn: all."""
        if self.size is None:
            return sys.maxsize
        return limits.AUDIT_PART_MIN + math.ceil(self.size * min(1.0, passed_s / limits.AUDIT_TURN_S))
