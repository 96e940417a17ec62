"""The rules of rooms, in SQL."""

from typing import NamedTuple

from sqlalchemy import Engine, insert, select, update

from server.journal.database import reading
from server.journal.tables import room_rules


class Stored(NamedTuple):
    """A room's rules as JSON, and how often they have changed."""

    version: int
    rules: str


def read(engine: Engine, room_id: str) -> Stored | None:
    """A room's rules, or None if it never had any. Raises SQLAlchemyError."""
    query = select(room_rules.c.version, room_rules.c.rules).where(room_rules.c.room_id == room_id)
    with reading(engine).connect() as connection:
        row = connection.execute(query).first()
    return None if row is None else Stored(row.version, row.rules)


def replace(engine: Engine, room_id: str, rules: str, now_ms: int) -> Stored:
    """Set a room's rules. The same again changes nothing. Raises SQLAlchemyError."""
    whose = room_rules.c.room_id == room_id
    with engine.begin() as connection:
        query = select(room_rules.c.version, room_rules.c.rules).where(whose).with_for_update()
        row = connection.execute(query).first()
        if row is not None and row.rules == rules:
            return Stored(row.version, row.rules)
        now = Stored(1 if row is None else row.version + 1, rules)
        values = {"version": now.version, "rules": now.rules, "changed_ms": now_ms}
        if row is None:
            connection.execute(insert(room_rules).values(room_id=room_id, **values))
        else:
            connection.execute(update(room_rules).where(whose).values(**values))
    return now
