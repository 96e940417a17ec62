"""The pace: small rooms are quick, large and overloaded ones wait longer, and nobody waits beyond the bound."""

import asyncio
import time

import pytest

from server import limits
from server.rooms.pace import Latency, Pace, Share, fair_level


def late_times(pace: Pace, above_s: float) -> int:
    """How many of the samples in the metrics were later than this bucket's bound."""
    (lags,) = pace.lags.collect()
    counts = {sample.labels["le"]: sample.value for sample in lags.samples if sample.name.endswith("_bucket")}
    return int(counts["+Inf"] - counts[str(above_s)])


LONG = limits.TICK_MS_MAX / 1000
SHARE = limits.FLUSH_SHARE["balanced"]


def wants(share: Share, per_s: float, sockets: int, seconds: float = 10.0) -> None:
    """Let a room have so many events per second for some time."""
    share.wait_s(0.0, sockets)
    for _ in range(int(seconds / limits.LAG_EVERY_S)):
        for _ in range(int(per_s * limits.LAG_EVERY_S)):
            share.event()
        share._pace.share_out(limits.LAG_EVERY_S)


def flushes(share: Share, sockets: int, every_s: float, seconds: float = 10.0) -> list[float]:
    """When a room that gets an event every so often is flushed, as its loop would do it."""
    now, times, due = 0.0, [], every_s
    for _ in range(int(seconds / every_s)):
        at = max(due, now + max(0.0, share.wait_s(now, sockets)))
        while at > now + 1e-12:
            now = at
            at = now + max(0.0, share.wait_s(now, sockets))
        share.flushed(now, sockets)
        times.append(now)
        due += every_s
    return times


def test_a_room_within_its_share_never_waits() -> None:
    """Each event is written at once as long as the node can afford it."""
    share = Pace().share()
    wants(share, 60, 1_000)  # 0.54 of a core
    times = flushes(share, 1_000, 1 / 60)
    assert times == pytest.approx([n / 60 for n in range(1, len(times) + 1)])


@pytest.mark.parametrize(("latency", "sockets"), [("low", 1_000), ("balanced", 9_000), ("cheap", 3_000)])
def test_a_room_that_wants_more_stays_within_its_share(latency: Latency, sockets: int) -> None:
    """Its flushes take the share of the loop's time, and no more."""
    pace = Pace(latency)
    share = pace.share()
    wants(share, 1_000, sockets)
    times = flushes(share, sockets, 1 / 1_000)
    assert pace.flush_s(sockets) / ((times[-1] - times[0]) / (len(times) - 1)) == pytest.approx(
        limits.FLUSH_SHARE[latency], rel=0.05
    )


def waits(share: Share, sockets: int, per_s: float, seconds: float = 10.0) -> list[float]:
    """How long each event waits for its flush to begin. A flush takes its time, and the next begins after it."""
    free_at, waited, waiting = 0.0, list[float](), list[float]()
    for due in [n / per_s for n in range(int(seconds * per_s))]:
        waiting.append(due)
        at = max(waiting[0], free_at)
        at = max(at, at + share.wait_s(at, sockets))
        if at < due + 1 / per_s:
            waited += [max(0.0, at - each) for each in waiting]
            waiting.clear()
            share.flushed(at, sockets)
            free_at = at + share._pace.flush_s(sockets)
    return waited


@pytest.mark.parametrize(("sockets", "per_s"), [(1_000, 20), (1_000, 60), (3_000, 20)])
def test_a_room_that_the_node_can_afford_waits_for_no_timer(sockets: int, per_s: float) -> None:
    """Even at half a core, each event's flush begins when the event comes."""
    share = Pace().share()
    wants(share, per_s, sockets)
    assert max(waits(share, sockets, per_s)) == 0


def test_a_hall_waits_for_its_share_and_no_longer() -> None:
    """20 messages a second to 9,000 people would take one and a half cores: each waits for a tick at most."""
    pace = Pace()
    share = pace.share()
    wants(share, 20, 9_000)
    waited = waits(share, 9_000, 20)
    assert pace.flush_s(9_000) / pace.tick_s(9_000) == pytest.approx(SHARE)
    assert max(waited) <= pace.tick_s(9_000)
    assert sum(waited) / len(waited) == pytest.approx(pace.tick_s(9_000) / 2, rel=0.1)


def test_a_burst_is_written_at_once_and_paid_for_later() -> None:
    """Chance brings events together: some flushes follow each other, but a large room's burst holds nobody up."""
    pace = Pace()
    small, large = pace.share(), pace.share()
    wants(small, 60, 1_000)
    for flush in range(limits.BURST_FLUSHES + 1):
        assert small.wait_s(20.0, 1_000) <= 1e-9, flush
        small.flushed(20.0, 1_000)
    assert small.wait_s(20.0, 1_000) > 0
    large.wait_s(20.0, 15_000)
    large.flushed(20.0, 15_000)
    assert large.wait_s(20.0, 15_000) > pace.tick_s(15_000) - limits.BURST_S - 0.001


def test_who_must_wait_gathers_some_events() -> None:
    """A room beyond its share waits the shortest tick at least, however small it is; `cheap` rooms always do."""
    pace = Pace()
    large, small = pace.share(), pace.share()
    wants(large, 1_000, 2_000)
    wants(small, 10_000, 10)
    assert pace.over(small.demand)
    small.flushed(20.0, 10)
    assert small.wait_s(20.0, 10) == pytest.approx(limits.TICK_MS_MIN["balanced"] / 1000)
    cheap = Pace("cheap").share()
    cheap.flushed(20.0, 1)
    assert cheap.wait_s(20.0, 1) == pytest.approx(limits.TICK_MS_MIN["cheap"] / 1000)


def test_large_rooms_never_starve_small_ones() -> None:
    """Small rooms write at once beside large ones, which share what is left."""
    pace = Pace()
    large, larger, small = pace.share(), pace.share(), pace.share()
    for share, sockets in ((large, 5_000), (larger, 15_000), (small, 100)):
        share.wait_s(0.0, sockets)
    for _ in range(100):
        for share, events in ((large, 10), (larger, 10), (small, 2)):
            for _ in range(events):
                share.event()
        pace.share_out(limits.LAG_EVERY_S)
    assert [pace.over(share.demand) for share in (large, larger, small)] == [True, True, False]
    left = (SHARE - small.demand) / 2
    assert pace.flush_s(5_000) / pace.tick_s(5_000) == pytest.approx(left, rel=0.05)


def test_a_quiet_node_counts_nobody() -> None:
    """A room that wants nothing any more is forgotten, and the next one has the whole budget."""
    pace = Pace()
    share = pace.share()
    wants(share, 1_000, 5_000)
    assert pace._busy
    for _ in range(200):
        pace.share_out(limits.LAG_EVERY_S)
    assert not pace._busy
    assert pace.flush_s(2_000) / pace.tick_s(2_000) == pytest.approx(SHARE)


@pytest.mark.parametrize(
    ("demands", "level"),
    [([], 0.6), ([0.2], 0.6), ([0.9], 0.6), ([0.1, 0.9], 0.5), ([0.5, 0.4, 0.05], 0.275), ([1.0] * 6, 0.1)],
)
def test_a_fair_level(demands: list[float], level: float) -> None:
    """All together stay within the budget; who wants little gets it."""
    assert fair_level(demands, 0.6) == pytest.approx(level)
    assert sum(min(demand, level) for demand in demands) <= 0.6 + 1e-9


def test_a_tick_grows_with_the_members() -> None:
    """Twice as many sockets wait twice as long, up to the bound."""
    pace = Pace()
    assert pace.tick_s(2_000) * 2 == pytest.approx(pace.tick_s(4_000), rel=0.01)
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
    assert pace.pressure == limits.PRESSURE_MAX
    assert pace.tick_s(1) == LONG
    assert pace.slowest(1)
    share = pace.share()
    share.flushed(0.0, 1)
    assert share.wait_s(0.0, 1) > 0
    assert late_times(pace, 0.01) == 100
    for _ in range(100):
        pace.late(0.0)
    assert pace.pressure == 1


def test_one_late_turn_is_no_trend() -> None:
    """One long turn among many shows in the metrics, and changes the tick little."""
    pace = Pace()
    for _ in range(200):
        pace.late(0.001)
    pace.late(1.0)
    assert late_times(pace, 0.001) == late_times(pace, 0.5) == 1
    assert pace.pressure <= 1.3


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
