"""What one socket may send: a token bucket for its commands, and for other input that costs the loop time."""

from protocol.wire import Role
from server import limits


class Allowance:
    """One per socket. A command takes a token, and so does a frame without a command (see `Commands.charge`)."""

    __slots__ = ("_bot", "_filled_at", "_tokens")

    def __init__(self, role: Role) -> None:
        self._bot = role == "bot"
        self._tokens = limits.BOT_COMMANDS_BURST if self._bot else limits.COMMANDS_BURST
        self._filled_at = 0.0

    @property
    def flooded(self) -> bool:
        """Whether the last `take` found a flood."""
        return self._tokens < -(limits.BOT_COMMANDS_BURST if self._bot else limits.COMMANDS_BURST)

    def take(self, cost: float, now: float) -> int:
        """Take tokens at `now`, the loop's time in seconds. Return 0, or the ms to wait, or -1 for a flood."""
        per_s = limits.BOT_COMMANDS_PER_S if self._bot else limits.COMMANDS_PER_S
        burst = limits.BOT_COMMANDS_BURST if self._bot else limits.COMMANDS_BURST
        if self._filled_at:
            self._tokens = min(burst, self._tokens + (now - self._filled_at) * per_s)
        self._filled_at = now
        self._tokens -= cost
        if self._tokens >= 0:
            return 0
        if self._tokens < -burst:
            return -1
        return int((1 - self._tokens) / per_s * 1000) + 1
