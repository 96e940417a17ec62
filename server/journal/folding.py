"""Folding a wallet's lots out of its entries. The lots are kept now and then, so that a fold reads only new entries.

What is kept can always be made again: rows of `lot_snapshots` may be deleted.
"""

import contextlib

import msgspec
import structlog
from msgspec import Struct
from sqlalchemy import Connection, Engine, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from server import limits
from server.journal import parts
from server.journal.database import reading
from server.journal.lots import Lots, Packed
from server.journal.tables import entries, lot_snapshots

log = structlog.get_logger()

Position = tuple[int, int]  # epoch and number of a log id

FORMAT = 1  # of what is kept: lots of another format are folded from the beginning
START: Position = (0, -1)
_KEPT = msgspec.msgpack.Decoder(list[Packed])


class Version(Struct, frozen=True):
    """Of a wallet's lots: its last journaled entry, and how many of its parts are decided."""

    at: Position
    parts: int

    @property
    def log_id(self) -> str:
        return f"{self.at[0]}-{self.at[1]}"


class Folded(Struct, frozen=True):
    """A wallet's lots at a version. `new` counts the entries that were folded for it."""

    lots: Lots
    version: Version
    new: int


def fold(engine: Engine, user_id: str) -> Folded:
    """Fold a wallet's lots, without a lock, and keep them when that was much work. Raises SQLAlchemyError."""
    with reading(engine, limits.SQL_FOLD_S).connect() as connection:
        folded = read(connection, user_id)
    if folded.new >= limits.LOT_SNAPSHOT_ENTRIES:
        with contextlib.suppress(SQLAlchemyError):  # the next fold tries again
            keep(engine, user_id, folded)
    return folded


def read(connection: Connection, user_id: str) -> Folded:
    """A wallet's lots as this transaction sees them. Raises SQLAlchemyError."""
    kept = connection.execute(select(lot_snapshots).where(lot_snapshots.c.user_id == user_id)).one_or_none()
    if kept is None or kept.format != FORMAT:
        lots, after = Lots(), START
    else:
        lots, after = decode(kept.lots), (kept.epoch, kept.n)
    return _fold_more(connection, user_id, lots, after)


def catch_up(connection: Connection, user_id: str, folded: Folded) -> Folded:
    """Continue a fold with what the journal has by now. It changes the lots that it continues with."""
    return _fold_more(connection, user_id, folded.lots, folded.version.at)


def _fold_more(connection: Connection, user_id: str, lots: Lots, after: Position) -> Folded:
    query = (
        select(entries.c.kind, entries.c.ref, entries.c.coins, entries.c.epoch, entries.c.n)
        .where(entries.c.user_id == user_id, tuple_(entries.c.epoch, entries.c.n) > after)
        .order_by(entries.c.epoch, entries.c.n)
    )
    new = 0
    for some in connection.execute(query.execution_options(yield_per=limits.FOLD_ROWS)).partitions():
        lots.take(some)
        new += len(some)
        after = (some[-1].epoch, some[-1].n)
    return Folded(lots, Version(after, parts.count(connection, user_id)), new)


def version_of(connection: Connection, user_id: str) -> Version:
    """A wallet's version now. Raises SQLAlchemyError."""
    newest = (
        select(entries.c.epoch, entries.c.n)
        .where(entries.c.user_id == user_id)
        .order_by(entries.c.epoch.desc(), entries.c.n.desc())
        .limit(1)
    )
    row = connection.execute(newest).one_or_none()
    return Version(START if row is None else (row.epoch, row.n), parts.count(connection, user_id))


def keep(engine: Engine, user_id: str, folded: Folded) -> None:
    """Keep a wallet's lots, unless newer ones are kept. Raises SQLAlchemyError."""
    epoch, n = folded.version.at
    row = {"user_id": user_id, "epoch": epoch, "n": n, "format": FORMAT, "lots": encode(folded.lots)}
    table = lot_snapshots
    dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).values(row)
    newer = tuple_(table.c.epoch, table.c.n) < tuple_(statement.excluded.epoch, statement.excluded.n)
    values = {name: statement.excluded[name] for name in ("epoch", "n", "format", "lots")}
    with engine.begin() as connection:
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[table.c.user_id], set_=values, where=newer | (table.c.format != FORMAT)
            )
        )


def encode(lots: Lots) -> bytes:
    """Lots as they are kept."""
    return msgspec.msgpack.encode([lot.pack() for lot in lots.lots.values()])


def decode(kept: bytes) -> Lots:
    """Kept lots, which can continue."""
    return Lots(packed.unpack() for packed in _KEPT.decode(kept))
