"""Moments of the journal: the end of a day, or an entry. What is asked as of one leaves out all that came later.

Entries are ordered by time, and at the same millisecond by partition and log id. So every entry of every partition is
before a moment or after it, and the answer does not change when the journal grows.
"""

import datetime
import re
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, and_, or_, select, tuple_

from server import limits
from server.journal.tables import entries

PATTERN = r"^([0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}:[0-9]{1,15}-[0-9]{1,15})$(?!\n)"
_ENTRY = re.compile(r"(\d+):(\d+)-(\d+)")


FIRST = datetime.datetime.fromtimestamp(0, datetime.UTC).date()


class Moment(Struct, frozen=True):
    """The moment right after an entry, or the end of a day when `entry` is None."""

    at_ms: int
    entry: tuple[int, int, int] | None = None  # partition, epoch, number

    @property
    def day(self) -> int:
        """The day since 1970 that it is in."""
        return self.at_ms // limits.DAY_MS

    @property
    def ends_a_day(self) -> bool:
        return self.entry is None

    @property
    def first_day(self) -> int:
        """The first day that is not over."""
        return self.day + 1 if self.ends_a_day else self.day

    def includes(self) -> Any:
        """The condition that a row of `entries` is not later."""
        if self.entry is None:
            return entries.c.at_ms <= self.at_ms
        at = tuple_(entries.c.partition, entries.c.epoch, entries.c.n)
        same = and_(entries.c.at_ms == self.at_ms, at <= tuple_(*self.entry))
        return and_(entries.c.at_ms <= self.at_ms, or_(entries.c.at_ms < self.at_ms, same))


def end_of_day(text: str) -> Moment:
    """The end of a day in UTC, `2026-11-05`. Raises ValueError."""
    day = datetime.date.fromisoformat(text).toordinal() - FIRST.toordinal()
    if day < 0:
        raise ValueError(f"{text} is before 1970")
    return Moment((day + 1) * limits.DAY_MS - 1)


def moment(connection: Connection, text: str) -> Moment | None:
    """The moment that `2026-11-05` or `<partition>:<epoch>-<n>` names; None for an entry that is not there.

    Raises ValueError for a day that does not exist, SQLAlchemyError.
    """
    found = _ENTRY.fullmatch(text)
    if found is None:
        return end_of_day(text)
    partition, epoch, n = map(int, found.groups())
    where = entries.c.partition == partition, entries.c.epoch == epoch, entries.c.n == n
    at_ms = connection.execute(select(entries.c.at_ms).where(*where)).scalar()
    return None if at_ms is None else Moment(at_ms, (partition, epoch, n))
