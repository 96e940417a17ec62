"""The goals of rooms, in SQL. The room store has a copy that moves; `features.goals` makes it again when it is lost."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from protocol.goals import GoalKind
from server.journal.database import reading
from server.journal.tables import goals


class Defined(Struct, frozen=True, kw_only=True):
    """One goal. `current` was so at least once: gifts are counted again, likes and viewers go on from here."""

    id: str
    kind: GoalKind
    gift: str | None
    title: str
    target: int
    created_ms: int
    current: int = 0
    reached: bool = False


class Listed(NamedTuple):
    """A room's goals, the oldest first, and which version of the list this is."""

    version: int
    goals: tuple[Defined, ...]


NONE = Listed(1, ())  # a room's copy has the version 0 while somebody changes the list
_LIST = msgspec.json.Decoder(tuple[Defined, ...])
Change = Callable[[tuple[Defined, ...]], tuple[Defined, ...]]


def read(engine: Engine, room_id: str) -> Listed:
    """A room's goals. Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        found = connection.execute(select(goals).where(goals.c.room_id == room_id)).first()
    return NONE if found is None else Listed(found.version, _LIST.decode(found.goals))


def change(engine: Engine, room_id: str, change: Change, now_ms: int) -> Listed:
    """Change a room's list. Raises what `change` raises, and SQLAlchemyError."""
    try:
        return _changed(engine, room_id, change, now_ms)
    except IntegrityError:  # the first goal of a room, twice at once
        return _changed(engine, room_id, change, now_ms)


def _changed(engine: Engine, room_id: str, change: Change, now_ms: int) -> Listed:
    whose = goals.c.room_id == room_id
    with engine.begin() as connection:
        found = connection.execute(select(goals).where(whose).with_for_update()).first()
        before = NONE if found is None else Listed(found.version, _LIST.decode(found.goals))
        now = Listed(before.version + 1, change(before.goals))
        if now.goals == before.goals:
            return before
        values = {"version": now.version, "goals": msgspec.json.encode(now.goals).decode(), "changed_ms": now_ms}
        if found is None:
            connection.execute(insert(goals).values(room_id=room_id, **values))
        else:
            connection.execute(update(goals).where(whose).values(**values))
    return now
