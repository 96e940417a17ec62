"""Days and weeks in time zones: every moment is in exactly one, also where clocks change."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import limits
from server.timezones import Period, zone_of

HOUR_MS = 3_600_000
JUMPED = ("Pacific/Apia", "Pacific/Fakaofo", "Pacific/Enderbury")  # over a day
ZONES = sorted(name for name in available_timezones() if not name.startswith(("posix", "right")) and "/" in name)
SINCE_MS = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp() * 1000)
moments = st.integers(SINCE_MS, SINCE_MS + 60 * 366 * limits.DAY_MS)


def ms(*when: int, zone: str, fold: int = 0) -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1000)  # type: ignore[arg-type,misc]


@given(zone=st.sampled_from(ZONES), now_ms=moments)
def test_every_moment_is_in_its_day_and_week(zone: str, now_ms: int) -> None:
    """The period has it, is of a sane length, and its day or week is the local one."""
    day, week = zone_of(zone).day(now_ms), zone_of(zone).week(now_ms)
    for period, days in ((day, 1), (week, 7)):
        assert period.from_ms <= now_ms < period.until_ms
        assert abs(period.until_ms - period.from_ms - days * limits.DAY_MS) <= 27 * HOUR_MS
    first = datetime.fromtimestamp(week.from_ms / 1000, ZoneInfo(zone))
    assert first.weekday() == 0 or zone in JUMPED
    assert week.from_ms <= day.from_ms


@given(zone=st.sampled_from(ZONES), now_ms=moments)
def test_a_day_begins_where_the_last_one_ended(zone: str, now_ms: int) -> None:
    """Nobody gets a limit twice: the next day begins there, or at the same midnight an hour before."""
    day = zone_of(zone).day(now_ms)
    after = zone_of(zone).day(day.until_ms)
    assert day.until_ms - 3 * HOUR_MS <= after.from_ms <= day.until_ms
    assert day.from_ms < after.from_ms


@pytest.mark.parametrize(
    ("zone", "when", "hours"),
    [
        ("Europe/Berlin", (2026, 3, 29, 12), 23),
        ("Europe/Berlin", (2026, 10, 25, 12), 25),
        ("Africa/Cairo", (2026, 4, 24, 12), 23),  # its midnight is left out
        ("America/Havana", (2026, 11, 1, 12), 25),  # its midnight comes twice
        ("Pacific/Apia", (2011, 12, 29, 12), 24),  # the 30th is left out
        ("Australia/Lord_Howe", (2026, 4, 5, 12), 24.5),
        ("UTC", (2026, 3, 29, 12), 24),
    ],
)
def test_days_of_other_lengths(zone: str, when: tuple[int, ...], hours: float) -> None:
    """Where clocks change, a day is longer or shorter."""
    found = zone_of(zone).day(ms(*when, zone=zone))
    assert (found.until_ms - found.from_ms) / HOUR_MS == hours


def test_a_week_begins_on_monday() -> None:
    """By the local calendar, from its first moment to its last."""
    here = "Asia/Tokyo"
    week = Period(ms(2026, 11, 23, zone=here), ms(2026, 11, 30, zone=here))
    for now_ms in (week.from_ms, ms(2026, 11, 27, 9, zone=here), week.until_ms - 1):
        assert zone_of(here).week(now_ms) == week
    assert zone_of("America/Lima").week(week.from_ms).from_ms == ms(2026, 11, 16, zone="America/Lima")
