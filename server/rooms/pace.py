"""How often rooms are flushed: a quiet one at once, a busy one less often as its flush costs more or the loop lags.

A flush costs its writes, not its messages: a longer tick sheds load and loses nothing.
"""

import asyncio
import time

from prometheus_client import Histogram

from server import background, limits


class Pace:
    """One per node. It measures the loop's lag and the cost of writing."""

    def __init__(self) -> None:
        self._socket_s = limits.FLUSH_SOCKET_S  # recent cost of one socket
        self._pressure = 1.0
        self.writes = 0  # to sockets, of rooms' frames
        self.lags = Histogram(
            "liveroom_loop_lag_seconds", "How late the loop was.", buckets=limits.LAG_BUCKETS_S, registry=None
        )
        self._task: asyncio.Task[None] | None = None

    def tick_s(self, sockets: int) -> float:
        """How long a room with this many sockets waits between two flushes."""
        cost_s = sockets * self._socket_s / limits.FLUSH_SHARE
        return min(max(cost_s, limits.TICK_MS_MIN / 1000) * self._pressure, limits.TICK_MS_MAX / 1000)

    def slowest(self, sockets: int) -> bool:
        """Whether the tick cannot become longer. Then the room must send less."""
        return self.tick_s(sockets) >= limits.TICK_MS_MAX / 1000

    def wrote(self, sockets: int, seconds: float) -> None:
        """Record how long a chunk of a flush took."""
        self.writes += sockets
        if sockets:
            weight = limits.FLUSH_COST_WEIGHT * min(1.0, sockets / limits.FLUSH_CHUNK)  # few sockets are a weak sample
            self._socket_s += (seconds / sockets - self._socket_s) * weight

    @property
    def pressure(self) -> float:
        """The factor by which the loop's lag lengthens every tick: 1 when it is on time."""
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
