"""Broadcasts in SQL, for good: one row for each that has ended. Its money is added up from the ledger's entries."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Engine, and_, func, insert, or_, select, text

from protocol.broadcasts import Broadcast, Fan
from protocol.wire import Named
from server import limits
from server.journal.database import patient, reading
from server.journal.people import hidden_people
from server.journal.tables import broadcasts, entries, reversal_parts, room_people, watermarks


class Sums(Struct, frozen=True):
    """What was given in a broadcast, less what is taken back so far."""

    gifts: int
    coins: int
    diamonds: int
    top_fans: tuple[Fan, ...]


class _Body(Struct, frozen=True):
    broadcast: str | None
    count: int
    anonymous: bool = False


class _Text(Struct, frozen=True):
    viewer_name: str = ""


PAGES = {"yield_per": limits.AUDIT_ROWS}  # a broadcast may have a million gifts
_BODY, _TEXT = msgspec.json.Decoder(_Body), msgspec.json.Decoder(_Text)


def is_journaled(engine: Engine, ends: dict[int, tuple[int, int]]) -> bool:
    """Whether the journal has the log of every partition up to these ends. Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        rows = connection.execute(select(watermarks.c.partition, watermarks.c.epoch, watermarks.c.n)).all()
    marks = {row.partition: (row.epoch, row.n) for row in rows}
    return all(marks.get(partition, (0, 0)) >= end for partition, end in ends.items() if end > (0, 0))


def sums(engine: Engine, room_id: str, broadcast_id: str, since_ms: int, until_ms: int) -> Sums:
    """Add up the gifts of a broadcast. Nobody is a fan who is hidden in the room. Raises SQLAlchemyError."""
    gifts = coins = diamonds = 0
    by_fan: Counter[str] = Counter()
    names: dict[str, str] = {}
    anonymous: set[tuple[str, str]] = set()
    of = _gifts_of(room_id, since_ms, until_ms)
    gift = entries.c
    with reading(engine, limits.SQL_AUDIT_S).connect() as connection:
        columns = (gift.ref, gift.user_id, gift.coins, gift.diamonds, gift.body, gift.text)
        for row in connection.execute(select(*columns).where(of), execution_options=PAGES):
            about = _BODY.decode(row.body)
            if about.broadcast != broadcast_id:
                continue
            gifts, coins, diamonds = gifts + about.count, coins + row.coins, diamonds + row.diamonds
            if about.anonymous:
                anonymous.add((row.ref, row.user_id))
            else:
                by_fan[row.user_id] += row.coins
                names[row.user_id] = _TEXT.decode(row.text).viewer_name if row.text else ""
        part = reversal_parts.c
        taken = select(part.gift, part.user_id, part.coins, part.diamonds, gift.body).join(
            entries, and_(gift.ref == part.gift, gift.user_id == part.user_id, of)
        )
        for back in connection.execute(taken, execution_options=PAGES):
            if _BODY.decode(back.body).broadcast == broadcast_id:
                coins, diamonds = coins - back.coins, diamonds - back.diamonds
                if (back.gift, back.user_id) not in anonymous:
                    by_fan[back.user_id] -= back.coins
        unseen = hidden_people(connection, room_id)
    shown = ((-given, user_id) for user_id, given in by_fan.items() if given > 0 and user_id not in unseen)
    ranked = sorted(shown)[: limits.BOARD_ROWS]
    fans = tuple(Fan(Named(user_id, names[user_id]), -less) for less, user_id in ranked)
    return Sums(gifts, coins, diamonds, fans)


def _gifts_of(room_id: str, since_ms: int, until_ms: int) -> ColumnElement[bool]:
    of_room = and_(entries.c.room_id == room_id, text("entries.kind = 'gift'"))  # as the index entries_by_room says it
    return and_(of_room, entries.c.at_ms >= since_ms, entries.c.at_ms <= until_ms)


def meet(engine: Engine, room_id: str, broadcast_id: str, at_ms: int, user_ids: Sequence[str]) -> None:
    """Note people who were in a room, each with the first broadcast at which they were seen. Raises SQLAlchemyError."""
    people = room_people.c
    with patient(engine, limits.SQL_DRAIN_S).begin() as connection:
        for first in range(0, len(user_ids), limits.SQL_VALUES_MAX):
            some = user_ids[first : first + limits.SQL_VALUES_MAX]
            known = select(people.user_id).where(people.room_id == room_id, people.user_id.in_(some))
            there = set(connection.execute(known).scalars())
            new = [
                {"room_id": room_id, "user_id": user_id, "broadcast_id": broadcast_id, "first_ms": at_ms}
                for user_id in some
                if user_id not in there
            ]
            if new:
                connection.execute(insert(room_people), new)


def met(engine: Engine, room_id: str, broadcast_id: str) -> int:
    """How many people were first seen in a room at this broadcast. Raises SQLAlchemyError."""
    people = room_people.c
    query = select(func.count()).where(people.room_id == room_id, people.broadcast_id == broadcast_id)
    with reading(engine).connect() as connection:
        return int(connection.execute(query).scalar_one())


def keep(engine: Engine, broadcast: Broadcast) -> Broadcast:
    """Write the row, unless it is there. Returns what is there. Raises SQLAlchemyError."""
    with engine.begin() as connection:
        if (found := _one(connection, broadcast.broadcast_id)) is not None:
            return found
        connection.execute(
            insert(broadcasts).values(
                id=broadcast.broadcast_id,
                room_id=broadcast.room_id,
                host_id=broadcast.host.user_id,
                started_at_ms=broadcast.started_at_ms,
                ended_at_ms=broadcast.ended_at_ms,
                summary=msgspec.json.encode(broadcast).decode(),
            )
        )
    return broadcast


def _one(connection: Connection, broadcast_id: str) -> Broadcast | None:
    found = connection.execute(select(broadcasts.c.summary).where(broadcasts.c.id == broadcast_id)).scalar()
    return None if found is None else msgspec.json.decode(found, type=Broadcast)


def find(engine: Engine, broadcast_id: str) -> Broadcast | None:
    """One broadcast. Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        return _one(connection, broadcast_id)


def page(engine: Engine, room_id: str, before: tuple[int, str] | None, limit: int) -> Iterable[Broadcast]:
    """The newest broadcasts of a room; those before (`started_at_ms`, `id`) if it is given. Raises SQLAlchemyError."""
    table = broadcasts.c
    query = select(table.summary).where(table.room_id == room_id)
    if before is not None:
        at_ms, broadcast_id = before
        query = query.where(
            or_(table.started_at_ms < at_ms, and_(table.started_at_ms == at_ms, table.id < broadcast_id))
        )
    query = query.order_by(table.started_at_ms.desc(), table.id.desc()).limit(limit)
    with reading(engine).connect() as connection:
        return [msgspec.json.decode(row, type=Broadcast) for row in connection.execute(query).scalars()]
