"""People in rooms, in SQL: what staff decided about each of them, and everything that staff ever did.

SQL has it first, and keeps it. The room store has a copy, which `rooms.people` makes again when it is lost.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine, Row, and_, func, insert, or_, select, update

from protocol.wire import Named
from server import limits
from server.journal.database import reading
from server.journal.tables import moderation, people

FOREVER_MS = 2**53 - 1  # the largest number that every client can read


RANK_MAX = 4  # the platform's


class Standing(Struct, frozen=True, omit_defaults=True):
    """What is decided about one person in one room. Times are Unix ms, FOREVER_MS without an end."""

    moderator: bool = False
    muted_until_ms: int = 0
    muted_in: str = ""  # the broadcast with which the mute ends, if it has no time
    banned_until_ms: int = 0
    banned_for: str = ""  # the reason, for the banned person
    hidden: bool = False
    warned: str = ""  # the warning that is not acknowledged yet
    warned_by: Named | None = None
    rank: int = RANK_MAX  # of the highest who decided: it binds nobody who is not below


NOTHING = Standing()


class Act(Struct, frozen=True, kw_only=True):
    """One thing that staff did. `act` is the tag of the command."""

    id: str
    room_id: str
    at_ms: int
    act: str
    by: Named
    user_id: str | None
    reason: str
    data: dict[str, Any]


class Version(NamedTuple):
    """A standing, and which number of its person's it is."""

    number: int
    standing: Standing


class Untold(NamedTuple):
    """An act of which the room may not have heard, its event as JSON, and how things stand with the person now."""

    act: Act
    event: bytes
    now: Version | None


class TooMany(Exception):
    """Too many people of this room have a standing."""


def record(engine: Engine, act: Act, event: bytes, change: Callable[[Standing], Standing] | None) -> Version | None:
    """Write the act, and the person's new standing if it has one to change. Raises TooMany, SQLAlchemyError."""
    with engine.begin() as connection:
        now = None
        if act.user_id is not None and change is not None:
            now = _changed(connection, act, change)
        connection.execute(
            insert(moderation).values(
                id=act.id,
                room_id=act.room_id,
                at_ms=act.at_ms,
                act=act.act,
                by_id=act.by.user_id,
                by_name=act.by.name,
                user_id=act.user_id,
                reason=act.reason,
                data=_json(act.data),
                event=event.decode(),
                told=0,
            )
        )
    return now


def _changed(connection: Connection, act: Act, change: Callable[[Standing], Standing]) -> Version:
    whose = and_(people.c.room_id == act.room_id, people.c.user_id == act.user_id)
    found = connection.execute(select(people.c.version, people.c.standing).where(whose).with_for_update()).first()
    before = NOTHING if found is None else _standing(found.standing)
    now = Version(1 if found is None else found.version + 1, change(before))
    if before == NOTHING and now.standing != NOTHING and _decided(connection, act.room_id) >= limits.PEOPLE_MAX:
        raise TooMany
    values = {"version": now.number, "standing": _json(now.standing), "changed_ms": act.at_ms}
    if found is None:
        connection.execute(insert(people).values(room_id=act.room_id, user_id=act.user_id, **values))
    else:
        connection.execute(update(people).where(whose).values(**values))
    return now


def _decided(connection: Connection, room_id: str) -> int:
    of_room = (people.c.room_id == room_id, people.c.standing != _json(NOTHING))
    return int(connection.execute(select(func.count()).select_from(people).where(*of_room)).scalar_one())


def note_told(engine: Engine, act_id: str) -> None:
    """The room has heard of this act."""
    with engine.begin() as connection:
        connection.execute(update(moderation).where(moderation.c.id == act_id).values(told=1))


def untold(engine: Engine, before_ms: int) -> list[Untold]:
    """The oldest acts before this time of which their rooms may not have heard."""
    person = and_(people.c.room_id == moderation.c.room_id, people.c.user_id == moderation.c.user_id)
    query = (
        select(moderation, people.c.version, people.c.standing)
        .outerjoin(people, person)
        .where(moderation.c.told == 0, moderation.c.at_ms < before_ms)
        .order_by(moderation.c.at_ms, moderation.c.id)
        .limit(limits.UNTOLD_BATCH)
    )
    with reading(engine).connect() as connection:
        rows = connection.execute(query).all()
    return [
        Untold(
            _act(row),
            (row.event or "").encode(),
            None if row.version is None else Version(row.version, _standing(row.standing)),
        )
        for row in rows
    ]


def standings(engine: Engine, room_id: str) -> dict[str, Version]:
    """Everybody of a room about whom something is decided."""
    query = select(people.c.user_id, people.c.version, people.c.standing).where(
        people.c.room_id == room_id, people.c.standing != _json(NOTHING)
    )
    with reading(engine).connect() as connection:
        rows = connection.execute(query).all()
    return {row.user_id: Version(row.version, _standing(row.standing)) for row in rows}


def acts(engine: Engine, room_id: str, before: tuple[int, str] | None, limit: int) -> Sequence[Act]:
    """The newest acts of a room, the newest first; those before (`at_ms`, `id`) if it is given."""
    query = select(moderation).where(moderation.c.room_id == room_id)
    if before is not None:
        at_ms, act_id = before
        earlier = and_(moderation.c.at_ms == at_ms, moderation.c.id < act_id)
        query = query.where(or_(moderation.c.at_ms < at_ms, earlier))
    query = query.order_by(moderation.c.at_ms.desc(), moderation.c.id.desc()).limit(limit)
    with reading(engine).connect() as connection:
        return [_act(row) for row in connection.execute(query)]


def _act(row: Row[Any]) -> Act:
    by = Named(row.by_id, row.by_name)
    data = msgspec.json.decode(row.data, type=dict[str, Any])
    return Act(
        id=row.id,
        room_id=row.room_id,
        at_ms=row.at_ms,
        act=row.act,
        by=by,
        user_id=row.user_id,
        reason=row.reason,
        data=data,
    )


def _standing(json: str) -> Standing:
    return msgspec.json.decode(json, type=Standing)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
