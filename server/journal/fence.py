"""The SQL side of the fence: which store may take money for each partition (docs/decisions/0019-fencing.md).

Everybody who opens a partition on another store swaps its token. Nodes ask for the token while they take money, and the
drain checks it in the transaction that moves the watermarks.
"""

import secrets
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from server.clock import Clock
from server.journal.database import reading
from server.journal.tables import openings

_TOKEN_BYTES = 8
_MARK = "#"  # before the token, in what the store records


class Superseded(SQLAlchemyError):
    """Another store has taken over this partition since it was opened on this one."""


class Held(msgspec.Struct, frozen=True):
    """Who may take money for a partition. `before` is the store that was replaced, or '' for the first."""

    identity: str
    token: str
    before: str

    @property
    def name(self) -> str:
        """What the store itself records when it is opened."""
        return f"{self.identity}{_MARK}{self.token}"


def is_fenced(opened: str) -> bool:
    """Whether the store recorded a token when it was opened."""
    return _MARK in opened


_HELD = select(openings.c.partition, openings.c.identity, openings.c.token, openings.c.before)


def held(connection: Connection) -> dict[int, Held]:
    """Who holds each partition. It is empty on a site without a fence."""
    return {partition: Held(*row) for partition, *row in connection.execute(_HELD)}


class Openings:
    """Reads and swaps the tokens. Raises SQLAlchemyError."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def read(self) -> dict[int, Held]:
        with reading(self._engine).connect() as connection:
            return held(connection)

    def take(self, identity: str, opened: Mapping[int, str]) -> dict[int, Held]:
        """Give the partitions to this store, and return who holds them then. `opened` is what the store recorded.

        Raises Superseded if another store took one over after this very process had opened it: it is an old primary.
        """
        now = self.read()
        if all(p in now and now[p].identity == identity for p in opened):
            return {p: now[p] for p in opened}
        token = secrets.token_hex(_TOKEN_BYTES)
        with self._engine.begin() as connection:
            rows = {p: Held(*row) for p, *row in connection.execute(_HELD.with_for_update())}
            new = Held(identity, token, "")
            return {p: self._take(connection, p, rows.get(p), new, was) for p, was in opened.items()}

    def _take(self, connection: Connection, partition: int, row: Held | None, new: Held, was: str) -> Held:
        values: dict[str, Any] = {"identity": new.identity, "token": new.token, "at_ms": self._clock.now_ms()}
        if row is None:
            connection.execute(insert(openings).values(partition=partition, before="", **values))
            return new
        if row.identity == new.identity:
            return row
        if was.partition(_MARK)[0] == new.identity:
            raise Superseded(f"partition {partition} was opened on {row.identity} since; restart this store to use it")
        where = openings.c.partition == partition
        connection.execute(update(openings).where(where).values(before=row.identity, **values))
        return Held(new.identity, new.token, row.identity)

    def forget(self, partitions: Collection[int]) -> None:
        """Take the fence away."""
        with self._engine.begin() as connection:
            connection.execute(delete(openings).where(openings.c.partition.in_(list(partitions))))


def check(connection: Connection, partitions: Collection[int], seen: Mapping[int, Held]) -> int | None:
    """The first of these partitions that is not held as `seen`, or None. None of them changes until the commit."""
    query = _HELD.where(openings.c.partition.in_(list(partitions))).with_for_update(read=True)
    now = {partition: Held(*row) for partition, *row in connection.execute(query)}
    return next((p for p in sorted(partitions) if now.get(p) != seen.get(p)), None)
