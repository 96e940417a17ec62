"""People in SQL: what the host platform knows of them, and what they are suspended from.

Each change of somebody gives them the next `version` of all, under one lock: who has seen a version has seen all before
it, and nodes ask only for what is newer.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType
from sqlalchemy import Connection, Engine, func, insert, or_, select, text, update

from server import limits
from server.journal.bulk import insert_once
from server.journal.database import reading
from server.journal.tables import suspensions, users
from server.requirements import NOTHING_KNOWN, Known

LOCK = 0x11E2005  # the number of an advisory lock; the value is arbitrary


class Suspension(Struct, frozen=True, kw_only=True):
    """What somebody is suspended from. It is in force until `until_ms` (null: without end), or until it is lifted."""

    id: str
    user_id: str
    capability: str
    reason: str
    statement: str
    from_ms: int
    until_ms: int | None
    appeal: str = ""
    appeal_text: str = ""
    ended_ms: int | None = None

    def holds(self, now_ms: int) -> bool:
        return self.ended_ms is None and (self.until_ms is None or now_ms < self.until_ms)


class User(NamedTuple):
    """All that SQL has of somebody's standing."""

    known: Known
    suspensions: tuple[Suspension, ...]


class TooMany(Exception):
    """No more can be kept."""


class Taken(Exception):
    """Another suspension of this person has this id."""


class NoSuchSuspension(Exception):
    """This person has no such suspension."""


_COLUMNS = tuple(suspensions.c[name] for name in Suspension.__struct_fields__)


# --- reading ---------------------------------------------------------------------------------------------------------
def read(engine: Engine, user_id: str) -> User:
    """Somebody's standing as it is now. Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        known = connection.execute(select(users.c.known).where(users.c.user_id == user_id)).scalar()
        rows = connection.execute(select(*_COLUMNS).where(suspensions.c.user_id == user_id).order_by(*_OLDEST)).all()
    found = NOTHING_KNOWN if known is None else msgspec.json.decode(known, type=Known)
    return User(found, tuple(map(_suspension, rows)))


def in_force(engine: Engine, now_ms: int) -> tuple[int, list[Suspension]]:
    """The newest version, and all suspensions that are in force. Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        newest = connection.execute(select(func.max(users.c.version))).scalar() or 0
        return newest, list(map(_suspension, connection.execute(select(*_COLUMNS).where(*_in_force(now_ms)))))


def newer(engine: Engine, version: int) -> list[tuple[str, int]]:
    """Who has changed after this version, with the oldest change first: some of them. Raises SQLAlchemyError."""
    query = select(users.c.user_id, users.c.version).where(users.c.version > version)
    with reading(engine).connect() as connection:
        rows = connection.execute(query.order_by(users.c.version).limit(limits.USERS_BATCH))
        return [(row.user_id, row.version) for row in rows]


_OLDEST = (suspensions.c.from_ms, suspensions.c.id)


def _in_force(now_ms: int) -> tuple[Any, ...]:
    until = suspensions.c.until_ms
    return suspensions.c.ended_ms.is_(None), or_(until.is_(None), until > now_ms)


def _suspension(row: Sequence[Any]) -> Suspension:
    return Suspension(**dict(zip(Suspension.__struct_fields__, row, strict=True)))


# --- writing ---------------------------------------------------------------------------------------------------------
def write_known(engine: Engine, user_id: str, known: Known, now_ms: int) -> None:
    """Replace what is known of somebody. Raises SQLAlchemyError."""
    with engine.begin() as connection:
        _touch(connection, user_id, now_ms, known)


def suspend(engine: Engine, new: Suspension) -> bool:
    """Write a suspension down. False if it is there already. Raises Taken, TooMany, SQLAlchemyError."""
    with engine.begin() as connection:
        _touch(connection, new.user_id, new.from_ms)
        of_user = suspensions.c.user_id == new.user_id
        before = connection.execute(select(*_COLUMNS).where(of_user, suspensions.c.id == new.id)).first()
        if before is not None:
            if _said(_suspension(before)) != _said(new):
                raise Taken
            return False
        count = select(func.count()).select_from(suspensions)
        if connection.execute(count.where(of_user)).scalar_one() >= limits.SUSPENSIONS_OF_USER_MAX:
            raise TooMany
        if connection.execute(count.where(*_in_force(new.from_ms))).scalar_one() >= limits.SUSPENSIONS_MAX:
            raise TooMany
        connection.execute(insert(suspensions).values(msgspec.structs.asdict(new)))
    return True


def _said(suspension: Suspension) -> tuple[object, ...]:
    """What a repeated order must have, too."""
    return suspension.capability, suspension.reason, suspension.statement, suspension.until_ms


class Changes(Struct, frozen=True, kw_only=True):
    """What is to change of a suspension. UNSET stays as it is."""

    appeal: str | UnsetType = UNSET
    appeal_text: str | UnsetType = UNSET
    until_ms: int | UnsetType | None = UNSET
    ended_ms: int | UnsetType = UNSET


def amend(engine: Engine, user_id: str, id: str, now_ms: int, change: Callable[[Suspension], Changes]) -> Suspension:
    """Change a suspension. Raises NoSuchSuspension, SQLAlchemyError, and what `change` raises."""
    this = (suspensions.c.user_id == user_id, suspensions.c.id == id)
    with engine.begin() as connection:
        _touch(connection, user_id, now_ms)
        row = connection.execute(select(*_COLUMNS).where(*this)).first()
        if row is None:
            raise NoSuchSuspension
        before = _suspension(row)
        named = {name: value for name, value in msgspec.structs.asdict(change(before)).items() if value is not UNSET}
        if named:
            connection.execute(update(suspensions).where(*this).values(named))
    return msgspec.structs.replace(before, **named)


def _touch(connection: Connection, user_id: str, now_ms: int, known: Known | None = None) -> None:
    """Give somebody the next version of all. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    version = (connection.execute(select(func.max(users.c.version))).scalar() or 0) + 1
    values: dict[str, Any] = {"version": version, "changed_ms": now_ms}
    if known is not None:
        values["known"] = msgspec.json.encode(known).decode()
    if not insert_once(connection, users, {"user_id": user_id, "known": "{}", **values}):
        connection.execute(update(users).where(users.c.user_id == user_id).values(values))
