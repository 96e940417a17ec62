"""How often rooms are flushed: at once while the node can afford it, else as often as its writing time allows.

All rooms of a node share one budget of writing time. A flush costs its writes, not its messages: a room that waits
longer between two flushes sheds load and loses nothing.
"""

import asyncio
import math
import time
from collections.abc import Collection
from typing import Literal

from prometheus_client import Histogram

from server import background, limits

Latency = Literal["low", "balanced", "cheap"]


class Pace:
    """One per node. It measures the loop's lag and the cost of writing, and shares out the time for it."""

    def __init__(self, latency: Latency = "balanced") -> None:
        self._budget = limits.FLUSH_SHARE[latency]
        self.tick_s_min = limits.TICK_MS_MIN[latency] / 1000
        self.always_ticks = latency == "cheap"
        self._level = self._budget  # seconds of writing per second that any room may take
        self._socket_s = limits.FLUSH_SOCKET_S  # recent cost of one socket
        self._pressure = 1.0
        self._busy: set[Share] = set()
        self.writes = 0  # to sockets, of rooms' frames
        self.lags = Histogram(
            "liveroom_loop_lag_seconds", "How late the loop was.", buckets=limits.LAG_BUCKETS_S, registry=None
        )
        self._task: asyncio.Task[None] | None = None

    # --- the budget --------------------------------------------------------------------------------------------
    def share(self) -> "Share":
        """The part of a room that begins."""
        return Share(self)

    def busy(self, share: "Share") -> None:
        """Count what this room wants, until it wants nothing any more."""
        self._busy.add(share)

    def flush_s(self, sockets: int) -> float:
        """What a flush to this many sockets costs."""
        return limits.FLUSH_OWN_S + sockets * self._socket_s

    def tick_s(self, sockets: int, *, waits: bool = True) -> float:
        """How long a room with this many sockets must make one flush last, so that it stays within its share.

        Who wants more than that (`waits`) has the shortest tick as well: it gathers some events for each write.
        """
        least = self.tick_s_min if waits or self._pressure > 1.0 else 0.0
        return min(max(self.flush_s(sockets) / self._level, least) * self._pressure, limits.TICK_MS_MAX / 1000)

    def slowest(self, sockets: int) -> bool:
        """Whether the tick cannot become longer. Then the room must send less."""
        return self.tick_s(sockets) >= limits.TICK_MS_MAX / 1000 or self._pressure >= limits.PRESSURE_MAX

    def over(self, demand: float) -> bool:
        """Whether a room that wants so many seconds of writing per second must wait for some of them."""
        return self.always_ticks or demand > self._level

    def share_out(self, seconds: float) -> None:
        """Look at what the rooms wanted in the last seconds, and share out the budget again."""
        weight = -math.expm1(-seconds / limits.DEMAND_S)
        for share in self._busy:
            share.look(seconds, weight)
        self._busy = {share for share in self._busy if share.demand > limits.DEMAND_MIN}
        self._level = fair_level([share.demand for share in self._busy], self._budget)

    def wrote(self, sockets: int, seconds: float) -> None:
        """Record how long a chunk of a flush took."""
        self.writes += sockets
        if sockets:
            weight = limits.FLUSH_COST_WEIGHT * min(1.0, sockets / limits.FLUSH_CHUNK)  # few sockets are a weak sample
            self._socket_s += (seconds / sockets - self._socket_s) * weight

    # --- the loop's lag ----------------------------------------------------------------------------------------
    @property
    def pressure(self) -> float:
        """The factor by which the loop's lag lengthens every tick: 1 when it is on time."""
        return self._pressure

    def late(self, lag_s: float) -> None:
        """Take a sample of how late the loop is."""
        self.lags.observe(lag_s)
        if lag_s * 1000 > limits.LAG_MS_HIGH:
            self._pressure = min(self._pressure * 1.25, limits.PRESSURE_MAX)
        else:
            self._pressure = max(self._pressure * 0.9, 1.0)

    async def start(self) -> None:
        self._task = background.forever("pace", self._sample)

    async def stop(self) -> None:
        await background.end(self._task)

    async def _sample(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(limits.LAG_EVERY_S)
            seconds = time.perf_counter() - began
            self.late(max(0.0, seconds - limits.LAG_EVERY_S))
            self.share_out(seconds)


class Share:
    """What one room may take of the node's writing time. It may fall behind by a burst (GCRA, ITU-T I.371)."""

    __slots__ = ("_events", "_free_at", "_pace", "demand", "sockets")

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._free_at = -math.inf  # loop time at which what was written is paid for
        self._events = 0  # since the last look
        self.sockets = 0
        self.demand = 0.0  # seconds of writing per second, if each event were written at once; over DEMAND_S

    def event(self) -> None:
        """An event came."""
        if not self._events:
            self._pace.busy(self)
        self._events += 1

    def look(self, seconds: float, weight: float) -> None:
        """Take what was wanted in the last seconds into the mean."""
        wanted = self._events / seconds * self._pace.flush_s(self.sockets)
        self.demand += (wanted - self.demand) * weight
        self._events = 0

    def wait_s(self, now: float, sockets: int) -> float:
        """How long the next flush has to wait; zero or less for not at all."""
        self.sockets = sockets
        if self._pace.over(self.demand):
            return self._free_at - now
        return self._free_at - now - min(limits.BURST_S, limits.BURST_FLUSHES * self._pace.tick_s(sockets))

    def flushed(self, now: float, sockets: int) -> None:
        """A flush begins."""
        tick_s = self._pace.tick_s(sockets, waits=self._pace.over(self.demand))
        self._free_at = max(self._free_at, now) + tick_s


def fair_level(demands: Collection[float], budget: float) -> float:
    """The most that anybody may take so that all together stay within the budget (max-min fairness).

    Who wants less gets it; what they leave is shared evenly by the others.
    """
    left = budget
    for number, demand in enumerate(sorted(demands)):
        fair = left / (len(demands) - number)
        if demand > fair:
            return fair
        left -= demand
    return left + max(demands, default=0.0)
