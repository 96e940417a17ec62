"""Compares what the store still has of the log, and its receipts, with the journal's rows."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from sqlalchemy import Connection, case, select, tuple_

from server.entries import KINDS
from server.journal import receipts
from server.journal.asof import after, chunks, up_to
from server.journal.books import LogEntry, Unreadable
from server.journal.findings import Wrong
from server.journal.log import Position
from server.journal.tables import entries


class Row(Struct, frozen=True):
    """The columns of an entry that its receipt follows from. `body` is empty where there is a text."""

    epoch: int
    n: int
    kind: str
    user_id: str
    ref: str
    at_ms: int
    balance: int | None
    combo_count: int
    body: str
    text: str | None


# A body is read only where it has the fingerprint, which is half of what a row costs.
_BODY = case((entries.c.text.is_(None), entries.c.body), else_="").label("body")
_ROWS = select(*(_BODY if name == "body" else entries.c[name] for name in Row.__struct_fields__))
# What the log says, too.
_LOGGED = select(*(entries.c[name] for name in ("epoch", "n", "at_ms", "balance", "credited", "combo_count", "body")))
_OTHER = "the store has another receipt than its entry"
_IN_ORDER = entries.c.epoch, entries.c.n


def rows_after(connection: Connection, partition: int, start: Position, to: Position, count: int) -> list[Row]:
    """The next rows after `start`, up to `to`."""
    query = _ROWS.where(entries.c.partition == partition, after(start), up_to(to)).order_by(*_IN_ORDER).limit(count)
    return [Row(*row) for row in connection.execute(query).all()]


def rows_of(connection: Connection, partition: int, refs: Sequence[str]) -> list[Row]:
    """The rows of these ids of gifts and orders."""
    query = _ROWS.where(entries.c.partition == partition, entries.c.ref.in_(refs))
    return [Row(*row) for row in connection.execute(query).all()]


def log_differs(connection: Connection, partition: int, log: Sequence[LogEntry | Unreadable]) -> Iterator[Wrong]:
    """Compare entries of the log, which follow one another, with the journal's rows of the same log ids."""
    if not log:
        return
    first, last = tuple_(log[0].epoch, log[0].n), (log[-1].epoch, log[-1].n)
    between = entries.c.partition == partition, tuple_(*_IN_ORDER) >= first, up_to(last)
    rows = {(epoch, n): tuple(said) for epoch, n, *said in connection.execute(_LOGGED.where(*between)).all()}
    for entry in log:
        row = rows.pop((entry.epoch, entry.n), None)
        where = f"{entry.epoch}-{entry.n}"
        if row is None:
            yield Wrong(partition, where, "the store's log has it, the journal not")
        elif isinstance(entry, Unreadable):
            yield Wrong(partition, where, f"the store's log has another entry, which {entry.reason}")
        elif _of_log(entry) != row:
            yield Wrong(partition, where, "the store's log has another entry than the journal")
    for epoch, n in rows:
        yield Wrong(partition, f"{epoch}-{n}", "the journal has it, the store's log not")


def _of_log(entry: LogEntry) -> tuple[object, ...]:
    return entry.at_ms, entry.balance, entry.credited, entry.combo_count, entry.body.decode()


Receipts = Mapping[tuple[str, str], str]  # by user and operation


def due(rows: Sequence[Row]) -> list[tuple[Row, receipts.Left]]:
    """The rows that have left receipts, and those receipts."""
    found = ((row, receipts.of(row) if row.kind in KINDS else None) for row in rows)
    return [(row, left) for row, left in found if left is not None]


def receipts_gone(
    partition: int, wanted: Sequence[tuple[Row, receipts.Left]], held: Receipts, needed: receipts.Needed
) -> Iterator[Wrong]:
    """Compare the receipts that these rows must have left, as far as they are still needed."""
    for row, left in wanted:
        if not needed.has(left):
            continue
        text = held.get((row.user_id, left.operation))
        if text is None or not left.agrees(text):
            said = "has no receipt" if text is None else "has another receipt"
            yield Wrong(
                partition, f"receipt:{row.user_id}:{left.operation}", f"the store {said} of {row.epoch}-{row.n}"
            )


def receipts_differ(connection: Connection, partition: int, held: Receipts, at: Position) -> Iterator[Wrong]:
    """Find receipts without their entry, or with another content. Those of entries after `at` are left out."""
    rows: dict[tuple[str, str], receipts.Left] = {}
    refs = list({receipts.ref_of(operation) for _, operation in held})
    for chunk in chunks(refs):
        for row in rows_of(connection, partition, chunk):
            left = receipts.of(row) if row.kind in KINDS else None
            if left is not None:
                rows[row.user_id, left.operation] = left
    for (user_id, operation), text in held.items():
        of = receipts.log_id_of(text)
        if of is not None and of > at:
            continue
        where, row_left = f"receipt:{user_id}:{operation}", rows.get((user_id, operation))
        if row_left is None:
            yield Wrong(partition, where, "the store has a receipt of no entry")
        elif not row_left.agrees(text):
            yield Wrong(partition, where, _OTHER)
