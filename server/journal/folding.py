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
from server.journal.database import reading
from server.journal.lots import Lots, Packed
from server.journal.tables import entries, lot_snapshots

log = structlog.get_logger()

Position = tuple[int, int]  # epoch and number of a log id

FORMAT = 1  # of what is kept: lots of another format are folded from the beginning
START: Position = (0, -1)
_KEPT = msgspec.msgpack.Decoder(list[Packed])


class Folded(Struct, frozen=True):
    """A wallet's lots after its entry `at`. `new` counts the entries that were folded for it."""

    lots: Lots
    at: Position
    new: int


def fold(engine: Engine, user_id: str) -> Folded:
    """Fold a wallet's lots, without a lock, and keep them when that was much work. Raises SQLAlchemyError."""
    with reading(engine, limits.SQL_FOLD_S).connect() as connection:
        folded = read(connection, user_id)
    keep_much(engine, user_id, folded)
    return folded


def keep_much(engine: Engine, user_id: str, folded: Folded) -> None:
    """Keep a wallet's lots if it was much work to fold them."""
    if folded.new >= limits.LOT_SNAPSHOT_ENTRIES:
        with contextlib.suppress(SQLAlchemyError):  # the next fold tries again
            keep(engine, user_id, folded)


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
    return _fold_more(connection, user_id, folded.lots, folded.at)


def _fold_more(connection: Connection, user_id: str, lots: Lots, after: Position) -> Folded:
    columns = (entries.c.kind, entries.c.ref, entries.c.coins, entries.c.epoch, entries.c.n)
    query = select(*columns).where(entries.c.user_id == user_id).order_by(entries.c.epoch, entries.c.n)
    query, new = query.limit(limits.FOLD_ROWS), 0
    while True:  # a cursor on the server would take four round trips more, and mostly a few entries are new
        some = connection.execute(query.where(tuple_(entries.c.epoch, entries.c.n) > after)).all()
        lots.take(some)
        new += len(some)
        if some:
            after = (some[-1].epoch, some[-1].n)
        if len(some) < limits.FOLD_ROWS:
            return Folded(lots, after, new)


def keep(engine: Engine, user_id: str, folded: Folded) -> None:
    """Keep a wallet's lots, unless newer ones are kept. Raises SQLAlchemyError."""
    epoch, n = folded.at
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
