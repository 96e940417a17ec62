"""What people have given in a lifetime, as the ledger says it, and which level of theirs was told.

Gifts of nobody anonymous count, less what was taken back of them. A row keeps the sum of gifts up to an entry, so that
nobody's many gifts are added up again; reversals are few, and always counted again. Without the row all is the same.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

from msgspec import Struct
from sqlalchemy import Connection, Engine, Row, and_, case, func, insert, or_, select, text, tuple_, update
from sqlalchemy.exc import IntegrityError

from server import limits
from server.journal.database import reading
from server.journal.given import name_of
from server.journal.tables import entries, givers, reversal_parts


class Given(Struct, frozen=True):
    """What somebody has given: `coins` are less what went back, `gifts` the coins of all gifts up to the entry `mark`.

    `level` is the highest that was ever reached, and `room_id` the room that is to hear of it, or nobody.
    """

    coins: int = 0
    gifts: int = 0
    mark: tuple[int, int] = (0, 0)
    new: int = 0  # gifts since the row was written
    level: int = 0
    room_id: str | None = None


class Reached(NamedTuple):
    """A level of which a room has not heard yet."""

    user_id: str
    level: int
    room_id: str
    name: str


GIFTS_NEW = 2 * limits.PAGE  # of somebody, since they were added up: a look reads so many rows at most
LevelOf = Callable[[int], int]
NOTHING = Given()
_NOT_ANONYMOUS = entries.c.body.not_like('%"anonymous":true%')
_IS_GIFT = text("entries.kind = 'gift'")


def given(engine: Engine, user_ids: Collection[str]) -> dict[str, Given]:
    """What these have given. Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        rows = connection.execute(select(givers).where(givers.c.user_id.in_(user_ids)))
        sums = {row.user_id: _of_row(row) for row in rows}
        for user_id, epoch, n, coins, new in connection.execute(_new_gifts(user_ids)):
            before = sums.get(user_id, NOTHING)
            gifts, mark = before.gifts + int(coins), max(before.mark, (epoch, n))
            sums[user_id] = Given(gifts, gifts, mark, before.new + new, before.level, before.room_id)
        taken = dict(_taken_back(connection, sums))
    found = {user_id: _less(one, taken.get(user_id, 0)) for user_id, one in sums.items()}
    return {user_id: found.get(user_id, NOTHING) for user_id in user_ids}


def _of_row(row: Row[Any]) -> Given:
    gifts = int(row.gifts)
    return Given(gifts, gifts, (row.epoch, row.n), 0, row.level, None if row.told else row.room_id)


def _less(one: Given, taken: int) -> Given:
    return Given(max(0, one.gifts - taken), one.gifts, one.mark, one.new, one.level, one.room_id)


def _new_gifts(user_ids: Collection[str]) -> Any:
    """The coins of gifts behind each row's entry, by epoch, and the last of these entries."""
    behind = tuple_(entries.c.epoch, entries.c.n) > tuple_(givers.c.epoch, givers.c.n)
    coins = func.sum(case((_NOT_ANONYMOUS, entries.c.coins), else_=0))
    return (
        select(entries.c.user_id, entries.c.epoch, func.max(entries.c.n), coins, func.count())
        .outerjoin(givers, givers.c.user_id == entries.c.user_id)
        .where(entries.c.user_id.in_(user_ids), _IS_GIFT, or_(givers.c.user_id.is_(None), behind))
        .group_by(entries.c.user_id, entries.c.epoch)
    )


def _taken_back(connection: Connection, user_ids: Iterable[str]) -> Iterable[tuple[str, int]]:
    """What journaled reversals took of gifts that count."""
    part, order = reversal_parts.c, entries.alias("reversal")
    of_gift = and_(entries.c.ref == part.gift, entries.c.user_id == part.user_id, _IS_GIFT, _NOT_ANONYMOUS)
    journaled = and_(order.c.ref == part.reversal, order.c.kind == part.kind, order.c.user_id == part.user_id)
    query = select(part.user_id, func.sum(part.coins)).join(entries, of_gift).join(order, journaled)
    found = connection.execute(query.where(part.user_id.in_(list(user_ids))).group_by(part.user_id))
    return [(user_id, int(coins)) for user_id, coins in found]


def journaled(engine: Engine, gifts: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of these gifts (giver, gift id) that the journal has. Raises SQLAlchemyError."""
    ids = {gift_id for _, gift_id in gifts}
    with reading(engine).connect() as connection:
        found = connection.execute(select(entries.c.user_id, entries.c.ref).where(entries.c.ref.in_(ids), _IS_GIFT))
        return set(gifts) & {(user_id, ref) for user_id, ref in found}


def claim(engine: Engine, room_id: str, user_ids: Collection[str], level_of: LevelOf, now_ms: int) -> dict[str, Given]:
    """What these have given, once their newest level is written down: one that is higher than ever is for a room, once.

    Whose `room_id` is this room, of them it is to hear. Raises SQLAlchemyError.
    """
    try:
        return _claimed(engine, room_id, user_ids, level_of, now_ms)
    except IntegrityError:  # the first row of somebody, twice at once
        return _claimed(engine, room_id, user_ids, level_of, now_ms)


def _claimed(
    engine: Engine, room_id: str, user_ids: Collection[str], level_of: LevelOf, now_ms: int
) -> dict[str, Given]:
    found = given(engine, user_ids)
    for user_id, one in sorted(found.items()):
        level = level_of(one.coins)
        if level > one.level or one.new >= GIFTS_NEW:
            with engine.begin() as connection:  # one for each: nobody waits for two
                found[user_id] = _written(connection, room_id, user_id, one, level=level, now_ms=now_ms)
    return found


def _written(connection: Connection, room_id: str, user_id: str, one: Given, *, level: int, now_ms: int) -> Given:
    """Write a row. What somebody else has written meanwhile counts."""
    whose = givers.c.user_id == user_id
    row = connection.execute(select(givers).where(whose).with_for_update()).first()
    before = NOTHING if row is None else _of_row(row)
    values: dict[str, Any] = {}
    if one.mark > before.mark or row is None:
        values |= {"gifts": one.gifts, "epoch": one.mark[0], "n": one.mark[1]}
    if level > before.level or row is None:
        values |= {"level": level, "room_id": room_id, "told": int(level == 0), "at_ms": now_ms}
    if row is None:
        connection.execute(insert(givers).values(user_id=user_id, **values))
    elif values:
        connection.execute(update(givers).where(whose).values(**values))
    if "level" not in values:
        return Given(one.coins, one.gifts, one.mark, 0, before.level, before.room_id)
    return Given(one.coins, one.gifts, one.mark, 0, level, room_id if level else None)


def note_told(engine: Engine, reached: Collection[tuple[str, int]]) -> None:
    """Rooms have heard of these levels. Raises SQLAlchemyError."""
    with engine.begin() as connection:
        for user_id, level in sorted(reached):
            which = and_(givers.c.user_id == user_id, givers.c.level == level)
            connection.execute(update(givers).where(which).values(told=1))


def untold(engine: Engine, before_ms: int) -> list[Reached]:
    """The oldest levels before this time of which their rooms may not have heard. Raises SQLAlchemyError."""
    query = select(givers).where(givers.c.told == 0, givers.c.at_ms < before_ms)
    with reading(engine).connect() as connection:
        rows = connection.execute(query.order_by(givers.c.at_ms).limit(limits.UNTOLD_BATCH)).all()
        return [
            Reached(row.user_id, row.level, row.room_id, name_of(connection, row.room_id, row.user_id)) for row in rows
        ]
