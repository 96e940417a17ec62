"""Catalogues in SQL: lists that belong to the site, a host or a room, each replaced as a whole. Nodes keep copies.

Each change has the next `version` of all, which is unique: of two changes at once the later one tries again. So who
has seen a version has seen all before it, and nodes ask only for what is newer.
"""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Engine, and_, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from server import limits
from server.journal.database import reading
from server.journal.tables import catalogues

SITE = ""  # the owner of what belongs to the whole site


class Key(NamedTuple):
    """Which catalogue: its kind, and whose it is."""

    kind: str
    owner: str


class Catalogue(NamedTuple):
    """What a catalogue has, as JSON. `version` is 0 if nobody has ever written it."""

    key: Key
    version: int
    body: bytes


def change(engine: Engine, key: Key, now_ms: int, change: Callable[[bytes], bytes]) -> Catalogue:
    """Replace a catalogue by what `change` returns for it. Raises SQLAlchemyError, and what `change` raises."""
    for again in reversed(range(limits.LIST_TRIES_MAX)):
        try:
            return _changed(engine, key, now_ms, change)
        except IntegrityError:
            if not again:
                raise
    raise AssertionError("unreachable")


def _changed(engine: Engine, key: Key, now_ms: int, change: Callable[[bytes], bytes]) -> Catalogue:
    whose = and_(catalogues.c.kind == key.kind, catalogues.c.owner == key.owner)
    with engine.begin() as connection:
        found = connection.execute(select(catalogues.c.body).where(whose).with_for_update()).first()
        body = change(b"" if found is None else found.body.encode())
        newest = connection.execute(select(func.max(catalogues.c.version))).scalar_one() or 0
        values = {"version": newest + 1, "body": body.decode(), "changed_ms": now_ms}
        if found is None:
            connection.execute(insert(catalogues).values(kind=key.kind, owner=key.owner, **values))
        else:
            connection.execute(update(catalogues).where(whose).values(**values))
    return Catalogue(key, newest + 1, body)


def read(engine: Engine, key: Key) -> Catalogue:
    """One of them. Raises SQLAlchemyError."""
    query = select(catalogues).where(catalogues.c.kind == key.kind, catalogues.c.owner == key.owner)
    with reading(engine).connect() as connection:
        row = connection.execute(query).first()
    return Catalogue(key, 0, b"") if row is None else Catalogue(key, row.version, row.body.encode())


def newest(engine: Engine) -> int:
    """The newest version. Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        return connection.execute(select(func.max(catalogues.c.version))).scalar_one() or 0


def newer(engine: Engine, version: int) -> list[tuple[Key, int]]:
    """Which have changed after this version, with the oldest change first: some of them. Raises SQLAlchemyError."""
    query = select(catalogues.c.kind, catalogues.c.owner, catalogues.c.version)
    query = query.where(catalogues.c.version > version).order_by(catalogues.c.version).limit(limits.LISTS_BATCH)
    with reading(engine).connect() as connection:
        return [(Key(row.kind, row.owner), row.version) for row in connection.execute(query)]
