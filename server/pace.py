"""How often rooms are flushed: a quiet one at once, a busy one less often the dearer its flush and the later the loop.

What a flush costs is its writes, not its messages: lengthening the tick sheds load and loses nothing.
"""

import asyncio
import time

from prometheus_client import Histogram

from server import background, limits


class Pace:
    """One per node: it watches the loop and what writing costs."""

    def __init__(self) -> None:
        self._socket_s = limits.FLUSH_SOCKET_S  # for one socket, as measured lately
        self._pressure = 1.0
        self.writes = 0  # to sockets, of rooms' frames
        self.lags = Histogram(
            "liveroom_loop_lag_seconds", "How late the loop was.", buckets=limits.LAG_BUCKETS_S, registry=None
        )
        self._task: asyncio.Task[None] | None = None

    def tick_s(self, sockets: int) -> float:
        """How long a room of so many sockets waits between two flushes."""
        cost_s = sockets * self._socket_s / limits.FLUSH_SHARE
        return min(max(cost_s, limits.TICK_MS_MIN / 1000) * self._pressure, limits.TICK_MS_MAX / 1000)

    def slowest(self, sockets: int) -> bool:
        """Whether the tick cannot become longer: now less has to be said."""
        return self.tick_s(sockets) >= limits.TICK_MS_MAX / 1000

    def wrote(self, sockets: int, seconds: float) -> None:
        """What a chunk of a flush took."""
        self.writes += sockets
        if sockets:
            weight = limits.FLUSH_COST_WEIGHT * min(1.0, sockets / limits.FLUSH_CHUNK)  # a handful says little
            self._socket_s += (seconds / sockets - self._socket_s) * weight

    @property
    def pressure(self) -> float:
        """By how much the loop's lag lengthens every tick: 1 when it is in time."""
        return self._pressure

    def late(self, lag_s: float) -> None:
        """Take a sample of how late the loop is."""
        self.lags.observe(lag_s)
        if lag_s * 1000 > limits.LAG_MS_HIGH:
            self._pressure = min(self._pressure * 1.25, limits.TICK_MS_MAX / limits.TICK_MS_MIN)
        else:
            self._pressure = max(self._pressure * 0.9, 1.0)

    async def start(self) -> None:
        self._task = background.forever("pace", self._sample)

    async def stop(self) -> None:
        await background.end(self._task)

    async def _sample(self) -> None:
        while True:
            due = time.perf_counter() + limits.LAG_EVERY_S
            await asyncio.sleep(limits.LAG_EVERY_S)
            self.late(max(0.0, time.perf_counter() - due))
