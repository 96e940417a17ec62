"""Days and weeks where somebody lives: when the present one began, and when the next one begins."""

import functools
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

MONDAY = 0  # a week's first day (ISO 8601)


class Period(NamedTuple):
    """From its first millisecond to before its last: `until_ms` is the first of the next."""

    from_ms: int
    until_ms: int


class Zone:
    """A time zone. A day has 23 to 25 hours where clocks change; a few zones once left one out."""

    def __init__(self, info: tzinfo) -> None:
        self._info = info

    def day(self, now_ms: int) -> Period:
        """The day of this moment, from midnight to midnight."""
        return self._period(now_ms, self._date(now_ms), timedelta(days=1))

    def week(self, now_ms: int) -> Period:
        """The week of this moment, from Monday to Monday."""
        today = self._date(now_ms)
        return self._period(now_ms, today - timedelta(days=today.weekday() - MONDAY), timedelta(days=7))

    def _date(self, now_ms: int) -> date:
        return datetime.fromtimestamp(now_ms / 1000, self._info).date()

    def _period(self, now_ms: int, first: date, length: timedelta) -> Period:
        """A midnight that comes twice begins the period at the first time, so that nobody gets a limit twice."""
        ends = self._midnights(first + length)
        return Period(self._midnights(first)[0], next((each for each in ends if each > now_ms), ends[-1]))

    def _midnights(self, day: date) -> tuple[int, ...]:
        """The moment of a midnight. It is two where a clock is put back over it.

        One that is left out is where the clock jumps: with fold=0 a time in a gap has the offset from before (PEP 495).
        """
        midnight = datetime(day.year, day.month, day.day, tzinfo=self._info)
        first, second = (int(midnight.replace(fold=fold).timestamp()) * 1000 for fold in (0, 1))
        return (first, second) if first < second else (first,)


@functools.cache
def zone_of(name: str) -> Zone:
    """A zone of the IANA database, or UTC, which needs none. Raises ValueError."""
    if name == "UTC":
        return Zone(UTC)
    try:
        return Zone(ZoneInfo(name))
    except (ZoneInfoNotFoundError, OSError, ValueError):
        raise ValueError(name) from None
