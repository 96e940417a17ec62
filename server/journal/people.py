"""People in rooms, in SQL: what staff decided about each of them, and everything that staff ever did.

SQL has it first, and keeps it. The room store has a copy, which `rooms.people` makes again when it is lost.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine, Row, and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

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


class MayNot(Exception):
    """Who acts has lost the right to it."""


class Decision(Struct, frozen=True, kw_only=True):
    """An act, what it changes, and its event as JSON; the event may depend on how things stood, and be two lines."""

    act: Act
    change: Callable[[Standing], Standing] | None = None
    event: Callable[[Standing], bytes] = lambda _before: b""
    may: Callable[[Standing], bool] | None = None  # by what is decided about who acts; None asks nothing


def hidden_people(connection: Connection, room_id: str) -> set[str]:
    """Who is hidden in a room. Raises SQLAlchemyError."""
    query = select(people.c.user_id, people.c.standing).where(people.c.room_id == room_id)
    rows = connection.execute(query.where(people.c.standing.contains('"hidden":true')))
    return {user_id for user_id, standing in rows if msgspec.json.decode(standing, type=Standing).hidden}


def record(engine: Engine, decision: Decision) -> tuple[Version | None, bytes]:
    """Write the act, and the person's new standing if it has one to change. Returns that, and the event.

    Raises TooMany, MayNot, SQLAlchemyError.
    """
    try:
        return _record(engine, decision)
    except IntegrityError:  # somebody else decided first about a person of whom there was no row to lock
        return _record(engine, decision)


def _record(engine: Engine, decision: Decision) -> tuple[Version | None, bytes]:
    act, change = decision.act, decision.change
    with engine.begin() as connection:
        before = _locked(connection, act)
        if decision.may is not None and not decision.may(before.get(act.by.user_id, _NO_VERSION).standing):
            raise MayNot
        now, person = None, before.get(act.user_id or "", _NO_VERSION)
        if act.user_id is not None and change is not None:
            now = Version(person.number + 1, change(person.standing))
            _change(connection, act, person, now)
        event = decision.event(person.standing)
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
    return now, event


_NO_VERSION = Version(0, NOTHING)


def _locked(connection: Connection, act: Act) -> dict[str, Version]:
    """What is decided about who acts and whom it is about. Nobody changes it meanwhile: two locks, always in order."""
    whose = and_(people.c.room_id == act.room_id, people.c.user_id.in_({act.by.user_id, act.user_id or ""}))
    query = select(people.c.user_id, people.c.version, people.c.standing).where(whose).order_by(people.c.user_id)
    rows = connection.execute(query.with_for_update())
    return {row.user_id: Version(row.version, _standing(row.standing)) for row in rows}


def _change(connection: Connection, act: Act, before: Version, now: Version) -> None:
    if (
        before.standing == NOTHING
        and now.standing != NOTHING
        and _decided(connection, act.room_id) >= limits.PEOPLE_MAX
    ):
        raise TooMany
    values = {"version": now.number, "standing": _json(now.standing), "changed_ms": act.at_ms}
    if before.number == 0:
        connection.execute(insert(people).values(room_id=act.room_id, user_id=act.user_id, **values))
    else:
        whose = and_(people.c.room_id == act.room_id, people.c.user_id == act.user_id)
        connection.execute(update(people).where(whose).values(**values))


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


def standing(engine: Engine, room_id: str, user_id: str) -> Standing:
    """What is decided about one person."""
    query = select(people.c.standing).where(people.c.room_id == room_id, people.c.user_id == user_id)
    with reading(engine).connect() as connection:
        found = connection.execute(query).scalar()
    return NOTHING if found is None else _standing(found)


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
