"""Finds partitions whose store and journal have different pasts: the store is an old primary, or another site's.

A replica that takes over goes on in a later epoch. If the old primary comes back, its last entries are in no journal.
They must not be covered with the journal's rows: balances would then follow from gifts that nobody has booked.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from sqlalchemy import Connection, Engine, insert, select, tuple_
from sqlalchemy.exc import IntegrityError

from server.clock import Clock
from server.journal.books import LogEntry, parse
from server.journal.database import reading
from server.journal.log import Position
from server.journal.tables import entries, quarantine
from server.store import keys
from server.store.client import Link


class _Booked(msgspec.Struct, frozen=True):
    """What the journal has of an entry."""

    at_ms: int
    balance: int | None
    credited: int | None
    combo_count: int
    body: str


_COLUMNS = [entries.c[name] for name in _Booked.__struct_fields__]


async def in_store(link: Link, at: Mapping[int, Position]) -> dict[int, Any]:
    """Each partition's log row at this log id, or None where the log does not have it. Raises StoreError."""
    asked = [link.call("XRANGE", keys.log(p), f"{epoch}-{n}", f"{epoch}-{n}") for p, (epoch, n) in at.items()]
    replies = cast(list[list[Any]], await asyncio.gather(*asked))
    return {p: rows[0] if rows else None for p, rows in zip(at, replies, strict=True)}


def in_journal(engine: Engine, at: Mapping[int, Position]) -> dict[int, _Booked]:
    """The journal's rows at these log ids; partitions without one are left out. Raises SQLAlchemyError."""
    place = tuple_(entries.c.partition, entries.c.epoch, entries.c.n)
    wanted = [(partition, *position) for partition, position in at.items()]
    query = select(entries.c.partition, *_COLUMNS).where(place.in_(wanted))
    with reading(engine).connect() as connection:
        return {partition: _Booked(*row) for partition, *row in connection.execute(query)}


def differs(row: Any, booked: _Booked | None, position: Position, mark: Position) -> str | None:
    """Why store and journal cannot have the same past, or None. `position` is the older of both their last entries.

    Without a row in the store nothing can be compared: the log was trimmed there. Without one in the journal, the store
    has an entry that the journal passed by, unless `position` is the mark itself, which is the audit's concern.
    """
    name = f"{position[0]}-{position[1]}"
    if booked is None:
        return None if position == mark else f"the store's entry {name} is not in the journal, which is at {mark}"
    if row is None:
        return None
    entry = parse(row)
    same = isinstance(entry, LogEntry) and booked == _Booked(
        entry.at_ms, entry.balance, entry.credited, entry.combo_count, entry.body.decode()
    )
    return None if same else f"the store's entry {name} is another than the journal's"


def set_aside(engine: Engine, forks: Mapping[int, tuple[Position, str]], clock: Clock) -> None:
    """Freeze each of these partitions, unless it is frozen already. Raises SQLAlchemyError."""
    for partition, (position, reason) in forks.items():
        try:
            with engine.begin() as connection:
                _freeze(connection, partition, position, reason, clock.now_ms())
        except IntegrityError:
            continue  # another node did so at the same time


def _freeze(connection: Connection, partition: int, at: Position, reason: str, now_ms: int) -> None:
    held = select(quarantine.c.n).where(quarantine.c.partition == partition)
    if connection.execute(held).first() is not None:
        return
    row = {"partition": partition, "epoch": at[0], "n": at[1], "reason": reason, "body": "", "at_ms": now_ms}
    connection.execute(insert(quarantine).values(row))
