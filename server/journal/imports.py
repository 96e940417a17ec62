"""Takes journal rows from another database: a backup may have those that this one and the ledger log have lost.

A row is booked like an entry of the log, which checks its balances. Its hash must then be the one that the other
database has. So only a continuation of our own chain is accepted, row by row.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy import Engine, and_, create_engine, or_, select

from server import limits
from server.clock import Clock
from server.journal import database
from server.journal.books import START, EntryRow, LogEntry, Mark, WrongRow, entry_of
from server.journal.database import reading
from server.journal.ledger import Batch, Ledger
from server.journal.tables import entries
from server.settings import Unusable

END = (2**62, 0)  # after every log id


class NotOurs(Exception):
    """The other database does not continue this journal. The text says where they differ."""


class Imported(Struct, frozen=True):
    """What was taken for a partition: how many rows, and the journal's new last entry."""

    partition: int
    rows: int
    last: str


def open_source(address: str) -> Engine:
    """Open a database URL, or a file of SQLite that stays as it is. Raises Unusable."""
    if "://" in address:
        return database.connect(address)
    path = Path(address).resolve()
    if not path.is_file():
        raise Unusable(f"There is no file {address}.")
    return create_engine(f"sqlite:///file:{path}?mode=ro&uri=true")


class Source:
    """Another journal, from which rows are read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine if engine.dialect.name == "sqlite" else reading(engine)

    def entries_after(
        self, partition: int, mark: Mark, before: tuple[int, int]
    ) -> Iterator[list[tuple[LogEntry, str]]]:
        """Pages of entries with `mark < log id < before`, each with its hash there. Raises NotOurs, SQLAlchemyError."""
        self._check(partition, mark)
        at = (mark.epoch, mark.n if mark != START else -1)
        while found := self._page(partition, at, before):
            yield found
            at = (found[-1][0].epoch, found[-1][0].n)

    def around(self, partition: int, at: tuple[int, int]) -> dict[tuple[int, int], LogEntry]:
        """A page of entries before this log id, and one from it on. Raises NotOurs, SQLAlchemyError."""
        before = self._page(partition, (at[0], at[1] - limits.AUDIT_ROWS), at)
        return {(each.epoch, each.n): each for each, _ in before + self._page(partition, (at[0], at[1] - 1), END)}

    def _check(self, partition: int, mark: Mark) -> None:
        """Check that the other database has our last entry, too."""
        if mark == START:
            return
        this = (entries.c.partition == partition, entries.c.epoch == mark.epoch, entries.c.n == mark.n)
        with self._engine.connect() as connection:
            theirs = connection.execute(select(entries.c.hash).where(*this)).scalar()
        if theirs != mark.hash:
            raise NotOurs(f"partition {partition}: it has {'another' if theirs else 'no'} entry {mark.epoch}-{mark.n}")

    def _page(self, partition: int, after: tuple[int, int], before: tuple[int, int]) -> list[tuple[LogEntry, str]]:
        epoch, n = entries.c.epoch, entries.c.n
        query = (
            select(entries)
            .where(entries.c.partition == partition)
            .where(or_(epoch > after[0], and_(epoch == after[0], n > after[1])))
            .where(or_(epoch < before[0], and_(epoch == before[0], n < before[1])))
            .order_by(epoch, n)
            .limit(limits.AUDIT_ROWS)
        )
        with self._engine.connect() as connection:
            rows: list[Any] = list(connection.execute(query))
        try:
            return [(entry_of(EntryRow(*row)), row.hash) for row in rows]
        except WrongRow as error:
            raise NotOurs(str(error)) from None


def take(engine: Engine, clock: Clock, source: Source, partition: int, before: tuple[int, int]) -> Imported | None:
    """Journal what the other database has after our last entry of a partition, below the log id `before`.

    None if it has nothing more. Raises NotOurs, SQLAlchemyError.
    """
    ledger, count = Ledger(engine, clock), 0
    mark = ledger.begin()[0][partition]
    for page in source.entries_after(partition, mark, before):
        batch = ledger.prepare({partition: mark}, {partition: [entry for entry, _ in page]})
        _check_batch(partition, batch, [digest for _, digest in page])
        count += ledger.write(batch)
        mark = batch.moved[partition][1]
    return Imported(partition, count, f"{mark.epoch}-{mark.n}") if count else None


_HASH = entries.columns.keys().index("hash")
_WIDTH = len(entries.columns)


def _check_batch(partition: int, batch: Batch, hashes: list[str]) -> None:
    if partition in batch.misfits:
        _, entry, reason = batch.misfits[partition]
        raise NotOurs(f"partition {partition}, {entry.epoch}-{entry.n}: {reason}")
    for at, theirs in zip(range(0, len(batch.rows.entries), _WIDTH), hashes, strict=True):
        if batch.rows.entries[at + _HASH] != theirs:
            _, epoch, n, *_ = batch.rows.entries[at : at + 3]
            raise NotOurs(f"partition {partition}, {epoch}-{n}: its hash does not follow from the rows before it")
