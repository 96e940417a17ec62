"""The pace: small rooms are quick, large and overloaded ones wait longer, and nobody waits beyond the bound."""

import asyncio
import time

import pytest

from server import limits
from server.rooms.pace import Pace


def late_times(pace: Pace, above_s: float) -> int:
    """How many of the samples in the metrics were later than this bucket's bound."""
    (lags,) = pace.lags.collect()
    counts = {sample.labels["le"]: sample.value for sample in lags.samples if sample.name.endswith("_bucket")}
    return int(counts["+Inf"] - counts[str(above_s)])


QUICK, LONG = limits.TICK_MS_MIN / 1000, limits.TICK_MS_MAX / 1000


def test_a_small_room_is_quick() -> None:
    """A room whose flush costs next to nothing waits the shortest time."""
    assert Pace().tick_s(0) == Pace().tick_s(10) == QUICK


def test_a_tick_grows_with_the_members() -> None:
    """Twice as many sockets wait twice as long, up to the bound."""
    pace = Pace()
    assert pace.tick_s(2_000) * 2 == pytest.approx(pace.tick_s(4_000))
    assert QUICK < pace.tick_s(2_000) < LONG
    assert pace.tick_s(1_000_000) == LONG


def test_a_tick_follows_what_writing_costs() -> None:
    """Writes that take ten times as long lengthen the tick; a handful of them hardly does."""
    pace = Pace()
    before = pace.tick_s(1_000)
    pace.wrote(1, 1.0 / 1000)
    assert pace.tick_s(1_000) < 1.1 * before
    for _ in range(200):
        pace.wrote(limits.FLUSH_CHUNK, limits.FLUSH_CHUNK * limits.FLUSH_SOCKET_S * 10)
    assert pace.tick_s(1_000) == pytest.approx(min(before * 10, LONG), rel=0.05)
    pace.wrote(0, 1.0)


def test_a_late_loop_lengthens_every_tick_for_a_while() -> None:
    """Lag sheds load in small rooms too, within the bound, and ends when the loop is on time again."""
    pace = Pace()
    for _ in range(100):
        pace.late(2 * limits.LAG_MS_HIGH / 1000)
    assert pace.tick_s(1) == LONG
    assert late_times(pace, 0.01) == 100
    for _ in range(100):
        pace.late(0.0)
    assert pace.tick_s(1) == QUICK
    assert pace.pressure == 1


def test_one_late_turn_is_no_trend() -> None:
    """One long turn among many shows in the metrics, and changes the tick little."""
    pace = Pace()
    for _ in range(200):
        pace.late(0.001)
    pace.late(1.0)
    assert late_times(pace, 0.001) == late_times(pace, 0.5) == 1
    assert pace.tick_s(1) <= 1.3 * QUICK


async def test_the_loop_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A held-up loop is noticed; stopping ends the watch."""
    monkeypatch.setattr(limits, "LAG_EVERY_S", 0.005)
    pace = Pace()
    await pace.start()
    async with asyncio.timeout(10):
        while not late_times(pace, 0.001):
            until = time.perf_counter() + 0.02
            while time.perf_counter() < until:  # holds the loop up
                pass
            await asyncio.sleep(0)
    await pace.stop()
