"""Derives a partition's journal again from its entries, and corrects every row that differs.

Canonical are an entry's number, time, balances and body, which the hash covers. The other columns follow from them, and
so do stored postings, positions and the rows of orders. An entry that was itself changed or deleted is taken from the
ledger log or a backup. Nothing is written unless the chain then leads to the watermark's hash.
"""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine, Table, and_, delete, insert, or_, select, update

from server import limits
from server.journal.books import (
    START,
    VERSION,
    EntryRow,
    Gap,
    LogEntry,
    Mark,
    Misfit,
    Positions,
    Rows,
    WrongRow,
    book,
    chained_as,
    entry_of,
)
from server.journal.database import patient
from server.journal.posted import Posted
from server.journal.tables import entries, legs, positions, watermarks
from server.journal.unlocked import unlocked

Position = tuple[int, int]
Others = Mapping[Position, LogEntry]  # entries of the log or of a backup, which replace rows that differ


class Broken(Exception):
    """The chain does not lead to the watermark, and no other copy of the entry at `at` helps."""

    def __init__(self, at: Position, what: str) -> None:
        super().__init__(f"{at[0]}-{at[1]}: {what}")
        self.at = at


class Rebuilt(Struct):
    """What was corrected in a partition: rows by table."""

    partition: int
    entries: int = 0
    legs: int = 0
    positions: int = 0

    @property
    def changed(self) -> bool:
        return bool(self.entries or self.legs or self.positions)


def rebuild(engine: Engine, partition: int, others: Others, *, dry: bool = False) -> Rebuilt:
    """Correct a partition in one transaction; `dry` only says what would be corrected.

    Raises Broken, and then nothing was changed, SQLAlchemyError.
    """
    try:
        return _run(engine, partition, others, dry)
    except Broken:
        if not others:
            raise
    return _run(engine, partition, {}, dry)  # the log may be the wrong one of both


def _run(engine: Engine, partition: int, others: Others, dry: bool) -> Rebuilt:
    with patient(engine, limits.SQL_AUDIT_S).connect() as connection, connection.begin() as transaction:
        with unlocked(connection):
            done = _Again(connection, partition, others).run()
        if dry:
            transaction.rollback()
        return done


class _Again:
    """One pass over a partition's entries."""

    def __init__(self, connection: Connection, partition: int, others: Others) -> None:
        self._connection = connection
        self._partition = partition
        self._others = others
        self._others_in_order = sorted(others)
        self._known = Positions(START)
        self._posted = Posted()
        self._done = Rebuilt(partition)
        self._version = VERSION  # of the row at hand, or of the next one
        self._first: Position | None = None  # the first entry that was corrected

    def run(self) -> Rebuilt:
        end = self._locked_mark()
        at: Position = (0, -1)
        own = ""
        while rows := self._page(at):
            last = (rows[-1].epoch, rows[-1].n)
            stored = self._stored(at, last)
            for row in rows:
                self._version = row.version
                self._fill_up_to((row.epoch, row.n), stored)
                if not self._fits(row):
                    self._delete(row)
                    continue
                self._one(self._others.get((row.epoch, row.n)) or self._reread(row), row, stored)
            self._drop(stored)
            at, own = last, rows[-1].hash
        stored = self._stored(at, (2**62, 0))
        self._fill_up_to((end.epoch, end.n + 1), stored)
        self._drop(stored)
        if self._known.mark != end:
            self._set_mark(end, own)
        self._correct_positions()
        self._posted.write(self._connection)
        return self._done

    def _locked_mark(self) -> Mark:
        """The partition's watermark. The drain waits until this transaction ends."""
        this = watermarks.c.partition == self._partition
        self._connection.execute(update(watermarks).where(this).values(hash=watermarks.c.hash))
        row = self._connection.execute(select(watermarks).where(this)).one_or_none()
        return START if row is None else Mark(row.epoch, row.n, row.hash)

    def _set_mark(self, end: Mark, own: str) -> None:
        """Correct the watermark, if no entry had to be corrected and the log goes on where the entries end."""
        mark = self._known.mark
        at = (mark.epoch, mark.n)
        goes_on = at in self._others or any(mark.follows(entry) for entry in self._others.values())
        if self._done.entries or own != mark.hash or not goes_on:
            what = f"the chain then leads to another hash than the watermark's, or to {mark.epoch}-{mark.n}"
            raise Broken(self._first or (end.epoch, end.n), what)
        self._connection.execute(delete(watermarks).where(watermarks.c.partition == self._partition))
        row = {"partition": self._partition, "epoch": mark.epoch, "n": mark.n, "hash": mark.hash}
        self._connection.execute(insert(watermarks).values(row))
        self._done.positions += 1

    # --- entries and postings ----------------------------------------------------------------------------------
    def _reread(self, row: EntryRow) -> LogEntry:
        try:
            return entry_of(row)
        except WrongRow:
            raise Broken((row.epoch, row.n), "its body cannot be read") from None

    def _fill_up_to(self, end: Position, stored: dict[Position, list[Any]]) -> None:
        """Put back entries that are missing before this one."""
        while (missing := self._next_missing(end)) is not None:
            self._one(missing, None, stored)

    def _next_missing(self, end: Position) -> LogEntry | None:
        mark = self._known.mark
        at = (mark.epoch, mark.n) if mark != START else (0, -1)
        for position in self._others_in_order[bisect_right(self._others_in_order, at) :][:1]:
            if position < end and mark.follows(self._others[position]):
                return self._others[position]
        return None

    def _one(self, entry: LogEntry, row: EntryRow | None, stored: dict[Position, list[Any]]) -> None:
        """Book an entry again, and correct its row and postings."""
        derived = Rows()
        try:
            chained = chained_as(entry, self._version)
            self._known.mark = book(self._partition, self._known.mark, chained, self._known, derived)
        except (Gap, Misfit, msgspec.ValidationError) as error:
            raise Broken(self._first or (entry.epoch, entry.n), str(error)) from None
        if entry.kind is not None and entry.kind.order:
            self._posted.note(entry.about, entry.at_ms, entry.balance)
        new = dict(zip(entries.columns.keys(), derived.entries, strict=True))
        if row is not None and row.text is None:
            new["text"] = None  # it was erased
        if row is None:
            self._connection.execute(insert(entries).values(new))
            self._corrected(entry)
        elif msgspec.structs.astuple(row) != tuple(new.values()):
            self._connection.execute(update(entries).where(*self._is(entries, (entry.epoch, entry.n))).values(new))
            self._corrected(entry)
        self._correct_postings((entry.epoch, entry.n), derived.legs, stored.pop((entry.epoch, entry.n), []))

    def _fits(self, row: EntryRow) -> bool:
        mark = self._known.mark
        return bool(row.n == mark.n + 1 if row.epoch == mark.epoch else row.epoch > mark.epoch and row.n == 0)

    def _delete(self, row: EntryRow) -> None:
        """Delete an entry whose number does not follow. The chain must reach the watermark without it."""
        self._connection.execute(delete(entries).where(*self._is(entries, (row.epoch, row.n))))
        self._corrected(row)

    def _corrected(self, entry: LogEntry | EntryRow) -> None:
        self._first = self._first or (entry.epoch, entry.n)
        self._done.entries += 1

    def _correct_postings(self, at: Position, ours: list[Any], theirs: list[Any]) -> None:
        width = len(legs.columns)
        right = [tuple(ours[leg : leg + width]) for leg in range(0, len(ours), width)]
        if right == [tuple(row) for row in theirs]:
            return
        self._done.legs += 1
        self._connection.execute(delete(legs).where(*self._is(legs, at)))
        if right:
            names = legs.columns.keys()
            self._connection.execute(insert(legs), [dict(zip(names, row, strict=True)) for row in right])

    def _drop(self, stored: dict[Position, list[Any]]) -> None:
        """Delete postings without an entry."""
        for at in stored:
            self._connection.execute(delete(legs).where(*self._is(legs, at)))
            self._done.legs += 1

    # --- positions -----------------------------------------------------------------------------------------------
    def _correct_positions(self) -> None:
        query = select(positions).where(positions.c.partition == self._partition)
        found = {row.account: row.balance for row in self._connection.execute(query)}
        right = self._known.now
        wrong = [each for each in {*found, *right} if found.get(each) != right.get(each)]
        for account in wrong:
            this = (positions.c.partition == self._partition, positions.c.account == account)
            self._connection.execute(delete(positions).where(*this))
            if account in right:
                row = {"partition": self._partition, "account": account, "balance": right[account]}
                self._connection.execute(insert(positions).values(row))
        self._done.positions += len(wrong)

    # --- reading -------------------------------------------------------------------------------------------------
    def _is(self, table: Table, at: Position) -> tuple[Any, ...]:
        return table.c.partition == self._partition, table.c.epoch == at[0], table.c.n == at[1]

    def _page(self, after: Position) -> list[EntryRow]:
        query = self._after(entries, after).order_by(entries.c.epoch, entries.c.n).limit(limits.AUDIT_ROWS)
        return [EntryRow(*row) for row in self._connection.execute(query)]

    def _stored(self, after: Position, last: Position) -> dict[Position, list[Any]]:
        """The stored postings with `after < log id <= last`, by log id."""
        epoch, n = legs.c.epoch, legs.c.n
        query = self._after(legs, after).where(or_(epoch < last[0], and_(epoch == last[0], n <= last[1])))
        found: dict[Position, list[Any]] = {}
        for row in self._connection.execute(query.order_by(epoch, n, legs.c.leg)):
            found.setdefault((row.epoch, row.n), []).append(row)
        return found

    def _after(self, table: Table, after: Position) -> Any:
        epoch, n = table.c.epoch, table.c.n
        beyond = or_(epoch > after[0], and_(epoch == after[0], n > after[1]))
        return select(table).where(table.c.partition == self._partition, beyond)
