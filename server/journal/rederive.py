"""Derives a partition's journal again from what is canonical, in one ordered pass, and finds the first wrong row.

Canonical are an entry's number, time, balances and body. All other columns, the postings and the positions follow from
them by `books.book`, with which the drain made them.
"""

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from typing import Any

from msgspec import Struct, ValidationError
from sqlalchemy import ColumnElement, Connection, Table, and_, or_, select

from server import limits
from server.journal.books import (
    COLUMNS,
    FIRST_HASH,
    VERSION,
    EntryRow,
    Mark,
    Misfit,
    Positions,
    Rows,
    WrongRow,
    book,
    entry_of,
)
from server.journal.findings import Wrong
from server.journal.tables import entries, positions, postings
from server.journal.texts import digest
from server.store import keys


class Head(Struct, frozen=True):
    """How far a partition's chain is verified: its last entry, and the hash there."""

    epoch: int
    n: int
    hash: str

    def __str__(self) -> str:
        return f"{self.epoch}-{self.n}"


START = Head(0, 0, FIRST_HASH)

_LEG = postings.columns.keys()


class _Found(Exception):
    """The first wrong row: its log id or account, and what is wrong."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where, self.what = where, what


class _Balances(Positions):
    """Balances as of the entry that was derived last. Of accounts before `start`, each one's first entry is believed.

    `verify` compares all positions with the sums of all postings, so that a wrong first balance shows there.
    """

    def __init__(self, start: Head) -> None:
        super().__init__(Mark(start.epoch, start.n, start.hash))
        self._whole = start == START

    def expect(self, account: str, by: int, balance: int | None) -> None:
        if not self._whole and account not in self.now and balance is not None:
            self.now[account] = balance - by
        super().expect(account, by, balance)


class _Legs:
    """The postings after `start`, in the order of their entries."""

    def __init__(self, connection: Connection, partition: int, start: Head) -> None:
        self._rows = _after(connection, postings, partition, start, postings.c.leg)
        self._next = next(self._rows, None)
        self.close = self._rows.close

    def of(self, epoch: int, n: int) -> list[Any]:
        """An entry's postings, flattened. Raises _Found when an entry before it has some that do not exist."""
        self.none_before(epoch, n)
        found: list[Any] = []
        while self._next is not None and (self._next[1], self._next[2]) == (epoch, n):
            found += self._next
            self._next = next(self._rows, None)
        return found

    def none_before(self, epoch: float, n: float) -> None:
        if self._next is not None and (self._next[1], self._next[2]) < (epoch, n):
            raise _Found(f"{self._next[1]}-{self._next[2]}", "there are postings, but no entry")


def rederive(connection: Connection, partition: int, start: Head = START) -> tuple[list[Wrong], Head]:
    """Derive what comes after `start`, up to the first wrong row. Returns it, and the last correct entry.

    Raises SQLAlchemyError.
    """
    known = _Balances(start)
    try:
        _derive(connection, partition, start, known)
        _compare_positions(connection, partition, known, whole=start == START)
        wrong = []
    except _Found as found:
        wrong = [Wrong(partition, found.where, found.what)]
    return wrong, Head(known.mark.epoch, known.mark.n, known.mark.hash)


def _derive(connection: Connection, partition: int, start: Head, known: _Balances) -> None:
    with (
        closing(_Legs(connection, partition, start)) as legs,
        closing(_after(connection, entries, partition, start)) as rows,
    ):
        _derive_all(partition, rows, legs, known)


def _derive_all(partition: int, rows: Iterable[Any], legs: _Legs, known: _Balances) -> None:
    version = 1
    for columns in rows:
        row = EntryRow(*columns)
        theirs = legs.of(row.epoch, row.n)
        try:
            if not version <= row.version <= VERSION:
                raise WrongRow(f": version {row.version} of the chain after version {version}")
            known.mark = _derive_one(partition, columns, row, theirs, known)
        except WrongRow as wrong:
            raise _Found(f"{row.epoch}-{row.n}", str(wrong).partition(": ")[2]) from None
        except (Misfit, ValidationError) as error:
            raise _Found(f"{row.epoch}-{row.n}", str(error)) from None
        version = row.version
    legs.none_before(float("inf"), 0)


def _derive_one(partition: int, columns: Any, row: EntryRow, theirs: list[Any], known: _Balances) -> Mark:
    """Compare an entry and its postings with what follows from its canonical part. Returns its mark.

    Raises _Found, WrongRow, Misfit, ValidationError.
    """
    entry = entry_of(row)
    mark, ours = known.mark, Rows()
    if not mark.follows(entry):
        raise _Found(f"{row.epoch}-{row.n}", f"follows {mark.epoch}-{mark.n}: entries between them are missing")
    new = entry.viewer not in known.now
    mark = book(partition, mark, entry, known, ours)
    if mark.hash != row.hash:
        raise _Found(f"{row.epoch}-{row.n}", "the hash does not follow")
    if ours.entries != [*columns]:
        raise _Found(f"{row.epoch}-{row.n}", _difference(COLUMNS, ours.entries, columns))
    if entry.text is not None and digest(entry.text.encode()) != entry.about.digest:
        raise _Found(f"{row.epoch}-{row.n}", "the text is not the one that its body names")
    if theirs != ours.postings:
        raise _Found(f"{row.epoch}-{row.n}", _difference_of_legs(ours.postings, theirs))
    if new and entry.about.viewer and keys.partition_of(entry.about.viewer) != partition:
        raise _Found(f"{row.epoch}-{row.n}", f"{entry.viewer} is of another partition")
    return mark


def _difference(names: Sequence[str], ours: Sequence[Any], theirs: Sequence[Any]) -> str:
    """The first column that is different."""
    return next(
        f"{name} is {they}, but should be {we}"
        for name, we, they in zip(names, ours, theirs, strict=True)
        if we != they
    )


def _difference_of_legs(ours: list[Any], theirs: list[Any]) -> str:
    """The first posting that is different, missing or too many."""
    size = len(_LEG)
    for at in range(0, max(len(ours), len(theirs)), size):
        we, they = ours[at : at + size], theirs[at : at + size]
        if not we or not they:
            return f"it has {len(theirs) // size} postings, but should have {len(ours) // size}"
        if we != they:
            return f"a posting's {_difference(_LEG, we, they)}"
    raise AssertionError("they are equal")


def _compare_positions(connection: Connection, partition: int, known: _Balances, *, whole: bool) -> None:
    """Compare the derived balances with `positions`. With `whole`, there must be no other positions."""
    ours = dict(known.now)
    query = select(positions).where(positions.c.partition == partition).order_by(positions.c.account)
    with connection.execute(query.execution_options(yield_per=limits.AUDIT_ROWS)) as rows:
        for row in rows:
            expected = ours.pop(row.account, None)
            if expected is None and whole:
                raise _Found(row.account, f"has a position of {row.balance}, but no entry moves it")
            if expected not in (None, row.balance):
                raise _Found(row.account, f"has a position of {row.balance}, but {expected} after its last entry")
    for account, balance in ours.items():
        raise _Found(account, f"has no position, but {balance} after its last entry")


def _after(
    connection: Connection, table: Table, partition: int, start: Head, *then: ColumnElement[Any]
) -> Generator[Any]:
    """The table's rows after `start` in order, some at a time."""
    epoch, n = table.c.epoch, table.c.n
    query = (
        select(table)
        .where(table.c.partition == partition)
        .where(or_(epoch > start.epoch, and_(epoch == start.epoch, n > start.n)))
        .order_by(epoch, n, *then)
    )
    with connection.execute(query.execution_options(yield_per=limits.AUDIT_ROWS)) as rows:
        yield from rows
