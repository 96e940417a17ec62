"""The gifts that a creator received, one by one with how far each is, and summed up by day, month, broadcast and fan.

Payouts take diamonds, not gifts. A gift counts as paid out when all gifts are that ripen on its day or before: what
ripens first is paid first.
"""

import datetime
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Select, func, select, text, tuple_

from server import limits
from server.entries import GIFT
from server.journal.derived import is_entry_of_part
from server.journal.earnings import booked
from server.journal.maturity import is_ripe, ripe_at_ms, ripe_day
from server.journal.moments import FIRST
from server.journal.tables import creator_days, entries, reversal_parts

Place = tuple[int, int, int, int]  # of an entry: time, partition, epoch, number
OF_GIFTS = text(f"entries.kind = '{GIFT.name}'")
HIDDEN = "anonymous"


class Received(Struct, frozen=True):
    """A journaled gift as its creator's statement has it. `stage` is how far it is: pending, ripe or paid_out."""

    id: str
    entry: str
    at_ms: int
    from_id: str
    to_id: str
    room_id: str
    broadcast_id: str | None
    gift: str
    count: int
    coins: int
    diamonds: int
    taken_back: int
    ripe_at_ms: int
    stage: str


class Sums(Struct, frozen=True):
    """What gifts of a day, a month or a broadcast brought, and what was taken of them. `of` says which."""

    of: str
    gifts: int
    credited: int
    taken_back: int


class Supporter(Struct, frozen=True):
    """What somebody gave. Anonymous gifts are nobody's."""

    user_id: str
    gifts: int
    coins: int
    diamonds: int


class _Body(Struct, frozen=True):
    maturity_days: int = limits.MATURITY_DAYS
    gift: str = ""
    count: int = 1
    broadcast: str | None = None
    anonymous: bool = False


_BODY = msgspec.json.Decoder(_Body)
_COLUMNS = [
    entries.c[name]
    for name in (
        "at_ms",
        "partition",
        "epoch",
        "n",
        "ref",
        "user_id",
        "creator_id",
        "room_id",
        "coins",
        "diamonds",
        "body",
    )
]
_PLACE = tuple_(entries.c.at_ms, entries.c.partition, entries.c.epoch, entries.c.n)


# --- one by one ------------------------------------------------------------------------------------------------------
class Asked(Struct, frozen=True):
    """Which of a creator's gifts: so many of `since_ms <= time < until_ms`, the newest before a place."""

    window: tuple[int, int]
    before: Place | None
    limit: int


def page(connection: Connection, creator: str, now_ms: int, asked: Asked) -> list[tuple[Place, Received]]:
    """Some gifts, the newest first, each with its place. Raises SQLAlchemyError."""
    before = asked.before
    query = select(*_COLUMNS).where(*_within(creator, asked.window))
    if before is not None:
        query = query.where(entries.c.at_ms <= before[0], tuple_(*before) > _PLACE)
    order = (column.desc() for column in (entries.c.at_ms, entries.c.partition, entries.c.epoch, entries.c.n))
    rows = connection.execute(query.order_by(*order).limit(asked.limit)).all()
    stages = Stages(connection, creator, now_ms)
    days = [row.at_ms // limits.DAY_MS for row in rows]
    taken = _taken(connection, creator, range(min(days), max(days) + 1)) if days else {}
    return [((row.at_ms, row.partition, row.epoch, row.n), _received(row, stages, taken)) for row in rows]


def one(connection: Connection, now_ms: int, gift_id: str, user_id: str | None) -> list[Received]:
    """The journaled gifts with this id: two viewers may use one. Raises SQLAlchemyError."""
    query = select(*_COLUMNS).where(entries.c.ref == gift_id, OF_GIFTS)
    if user_id is not None:
        query = query.where(entries.c.user_id == user_id)
    return [_alone(connection, now_ms, row) for row in connection.execute(query).all()]


def _alone(connection: Connection, now_ms: int, row: Any) -> Received:
    day = row.at_ms // limits.DAY_MS
    taken = _taken(connection, row.creator_id, range(day, day + 1))
    return _received(row, Stages(connection, row.creator_id, now_ms), taken)


class Stages:
    """How far a creator's gifts are."""

    def __init__(self, connection: Connection, creator: str, now_ms: int) -> None:
        self._now_ms = now_ms
        self._paid_through = _paid_through(connection, creator)

    def of(self, ripe: int) -> str:
        """The stage of a gift with this `ripe_day`."""
        if ripe <= self._paid_through:
            return "paid_out"
        return "ripe" if is_ripe(ripe, self._now_ms) else "pending"


def _paid_through(connection: Connection, creator: str) -> int:
    """The last ripe_day of which all diamonds are paid, with all before. -1 if there is none."""
    paid, reached = booked(connection, creator).paid, -1
    if paid:
        day = creator_days.c
        ripe = day.gift_day + day.maturity_days + 1  # its ripe_day
        query = select(ripe, func.sum(day.credited - day.taken_back)).where(day.creator == creator)
        for number, net in connection.execute(query.group_by(ripe).order_by(ripe)):
            paid -= net
            if paid < 0:
                break
            reached = number
    return reached


def _received(row: Any, stages: Stages, taken: Mapping[tuple[str, str], int]) -> Received:
    about = _BODY.decode(row.body)
    ripe = ripe_day(row.at_ms // limits.DAY_MS, about.maturity_days)
    return Received(
        id=row.ref,
        entry=f"{row.partition}:{row.epoch}-{row.n}",
        at_ms=row.at_ms,
        from_id=HIDDEN if about.anonymous else row.user_id,
        to_id=row.creator_id,
        room_id=row.room_id or "",
        broadcast_id=about.broadcast,
        gift=about.gift,
        count=about.count,
        coins=row.coins,
        diamonds=row.diamonds,
        taken_back=taken.get((row.user_id, row.ref), 0),
        ripe_at_ms=ripe_at_ms(ripe),
        stage=stages.of(ripe),
    )


def _taken(connection: Connection, creator: str, days: range) -> dict[tuple[str, str], int]:
    """The diamonds that journaled reversals took of gifts of these days, by viewer and id.

    By the days, because SQLite would look for pairs of viewers and ids among all parts that there are.
    """
    part = reversal_parts.c
    query = select(part.user_id, part.gift, func.sum(part.diamonds)).join(entries, is_entry_of_part())
    query = query.where(part.creator == creator, part.gift_day >= days.start, part.gift_day < days.stop)
    found = connection.execute(query.group_by(part.user_id, part.gift))
    return {(user_id, gift): int(diamonds) for user_id, gift, diamonds in found}


def _within(creator: str, window: tuple[int, int]) -> tuple[Any, ...]:
    return entries.c.creator_id == creator, OF_GIFTS, entries.c.at_ms >= window[0], entries.c.at_ms < window[1]


# --- summed up -------------------------------------------------------------------------------------------------------
def by_day(connection: Connection, creator: str, window: tuple[int, int], *, months: bool) -> list[Sums]:
    """The sums of each day or month with gifts, the oldest first. Raises SQLAlchemyError."""
    day, sums = creator_days.c, dict[str, Counter[str]]()
    first, last = window[0] // limits.DAY_MS, -(-window[1] // limits.DAY_MS)
    query = select(day.gift_day, day.gifts, day.credited, day.taken_back).where(day.creator == creator)
    query = query.where(day.gift_day >= first, day.gift_day < last).order_by(day.gift_day)
    for number, gifts, credited, taken_back in connection.execute(query):
        name = (FIRST + datetime.timedelta(number)).isoformat()
        counted = sums.setdefault(name[: len("2026-11")] if months else name, Counter())
        counted.update(gifts=gifts, credited=credited, taken_back=taken_back)
    return [_sums(name, counted) for name, counted in sums.items()]


def by_broadcast(connection: Connection, creator: str, window: tuple[int, int]) -> list[Sums]:
    """The sums of each broadcast with gifts of a window, the oldest first. Reads every gift. Raises SQLAlchemyError."""
    sums: dict[str, Counter[str]] = {}
    taken = _taken(connection, creator, range(window[0] // limits.DAY_MS, -(-window[1] // limits.DAY_MS)))
    query = select(*_COLUMNS).where(*_within(creator, window)).order_by(entries.c.at_ms)
    for row in _streamed(connection, query):
        name = _BODY.decode(row.body).broadcast or ""
        lost = taken.get((row.user_id, row.ref), 0)
        sums.setdefault(name, Counter()).update(gifts=1, credited=row.diamonds, taken_back=lost)
    return [_sums(name, counted) for name, counted in sums.items()]


def _sums(name: str, counted: Counter[str]) -> Sums:
    return Sums(name, counted["gifts"], counted["credited"], counted["taken_back"])


def supporters(connection: Connection, creator: str, window: tuple[int, int], limit: int) -> list[Supporter]:
    """Who gave most in a window, by coins. Reads every gift. Raises SQLAlchemyError."""
    coins = func.sum(entries.c.coins)
    query = select(entries.c.user_id, func.count(), coins, func.sum(entries.c.diamonds))
    query = query.where(*_within(creator, window), entries.c.body.not_like('%"anonymous":true%'))
    query = query.group_by(entries.c.user_id).order_by(coins.desc(), entries.c.user_id).limit(limit)
    return [Supporter(user_id, *map(int, sums)) for user_id, *sums in connection.execute(query)]


def _streamed(connection: Connection, query: Select[Any]) -> Iterator[Any]:
    yield from connection.execute(query, execution_options={"yield_per": limits.AUDIT_ROWS})
