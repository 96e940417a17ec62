"""Writes the books: the partition of what SQL alone decides about money (payouts, write-offs, corrections).

An entry is numbered, chained and audited like those of the ledger log. It is written in the caller's transaction, with
the row that changes for it. The watermark's row is the lock: who has it sees all entries before, and writes the next.
"""

from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, bindparam, select, update

from protocol.wire import encode
from server import limits
from server.entries import BOOKS, KIND_OF, KINDS, Body, Kind
from server.journal.books import START, LogEntry, Mark, Misfit, Positions, Rows, Unreadable, book, parse
from server.journal.bulk import insert_many, insert_once
from server.journal.tables import entries, legs, quarantine, watermarks

EPOCH = 1  # no store opens the books, so there is no other


class BooksFrozen(Exception):
    """An audit has found something wrong in the books: nothing is decided until a repair has thawed them."""


def lock(connection: Connection) -> Mark:
    """Wait for all other writers of the books, and let none write until the transaction ends. Returns the mark.

    Who decides by what the books say locks them first: two decisions at once would each see what was before both.
    Raises BooksFrozen, SQLAlchemyError.
    """
    first = {"partition": limits.BOOKS, "epoch": START.epoch, "n": START.n, "hash": START.hash}
    row = connection.execute(_MARK).one_or_none()
    if row is None:
        insert_once(connection, watermarks, first)
        row = connection.execute(_MARK).one()
    if (reason := connection.execute(_FROZEN).scalar()) is not None:
        raise BooksFrozen(reason)
    return Mark(row.epoch, row.n, row.hash)


def write(connection: Connection, entry: Struct, at_ms: int) -> Mark:
    """Write an entry and its postings in the caller's transaction. Returns its mark: epoch, number and hash.

    Raises Misfit when it does not follow from the entries before it, ValidationError when its fields do not fit,
    BooksFrozen, SQLAlchemyError. The caller rolls back.
    """
    kind = KIND_OF[type(entry)]
    assert kind.writer == BOOKS, kind.name
    mark = lock(connection)
    epoch, n = (EPOCH, 0) if mark == START else (mark.epoch, mark.n + 1)
    read = parse((b"%d-%d" % (epoch, n), [b"t", b"%d" % at_ms, b"e", encode(entry)]))
    if isinstance(read, Unreadable):
        raise Misfit(read.reason)
    _check(connection, kind, read.about)
    return _append(connection, mark, read)


def _append(connection: Connection, mark: Mark, entry: LogEntry) -> Mark:
    rows = Rows()
    now = book(limits.BOOKS, mark, entry, Positions(mark), rows)
    insert_many(connection, entries, rows.entries)
    insert_many(connection, legs, rows.legs)
    moved = {"was": mark.hash, "to_epoch": now.epoch, "to_n": now.n, "to_hash": now.hash}
    if connection.execute(_MOVED, moved).rowcount != 1:
        raise Misfit("the watermark moved in spite of its lock")
    return now


def _check(connection: Connection, kind: Kind, about: Body) -> None:
    """Check that no entry of this kind has this id, and that what it closes is open. Raises Misfit."""
    there: list[Row[Any]] = [*connection.execute(_OF_REF, {"ref": about.id})]
    if any(row.kind == kind.name for row in there):
        raise Misfit(f"there is a {kind.name} {about.id}")
    if not kind.closes:
        return
    opened = next((row for row in there if row.kind == kind.closes), None)
    if opened is None or (opened.creator_id, opened.diamonds) != (about.creator, about.diamonds):
        raise Misfit(f"no {kind.closes} {about.id} of {about.diamonds} diamonds of {about.creator}")
    closed = next((row.kind for row in there if KINDS[row.kind].closes == kind.closes), None)
    if closed is not None:
        raise Misfit(f"{kind.closes} {about.id} has ended as {closed}")


_MARK = select(watermarks).where(watermarks.c.partition == limits.BOOKS).with_for_update()
_FROZEN = select(quarantine.c.reason).where(quarantine.c.partition == limits.BOOKS).limit(1)
_OF_REF = select(entries.c.kind, entries.c.creator_id, entries.c.diamonds).where(
    entries.c.ref == bindparam("ref"),
    entries.c.kind.in_([kind.name for kind in KINDS.values() if kind.writer == BOOKS]),
    entries.c.user_id == "",
    entries.c.partition == limits.BOOKS,
)
_MOVED = (
    update(watermarks)
    .where(watermarks.c.partition == limits.BOOKS, watermarks.c.hash == bindparam("was"))
    .values(epoch=bindparam("to_epoch"), n=bindparam("to_n"), hash=bindparam("to_hash"))
)
