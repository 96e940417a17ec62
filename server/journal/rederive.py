"""Derives a partition's journal again from what is canonical, in one ordered pass, and finds the first wrong row.

Canonical are an entry's number, time, balances and body. All other columns, stored postings and positions follow from
them by `books.follow`, with which the drain made them.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

from msgspec import ValidationError
from sqlalchemy import Connection, Select, bindparam, select

from server import limits
from server.journal.asof import chunks
from server.journal.books import (
    DERIVED,
    OF_DERIVED,
    START,
    VERSION,
    EntryRow,
    Mark,
    Misfit,
    Positions,
    WrongRow,
    entry_of,
    follow,
)
from server.journal.findings import Wrong
from server.journal.heads import Head
from server.journal.log import Position
from server.journal.seen import BEGIN, END, Seen
from server.journal.tables import entries, legs, positions
from server.journal.texts import digest
from server.journal.totals import range_of, within
from server.store import keys

ALL = 2**62  # rows: more than there are
_LEG = legs.columns.keys()
_ENTRIES = select(entries).where(within(entries)).order_by(entries.c.epoch, entries.c.n).limit(bindparam("most"))
_STORED = select(legs).where(within(legs)).order_by(legs.c.epoch, legs.c.n, legs.c.leg)
_HELD = select(positions.c.account, positions.c.balance).where(positions.c.partition == bindparam("partition"))
_HELD_BY = _HELD.where(positions.c.account.in_(bindparam("accounts", expanding=True)))


class _Found(Exception):
    """The first wrong row: its log id or account, and what is wrong."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where, self.what = where, what


class _Balances(Positions):
    """Balances as of the entry that was derived last. Of accounts before `start`, each one's first entry is believed.

    `accounts` compares all positions with the sums of all postings, so that a wrong first balance shows there.
    """

    def __init__(self, start: Mark) -> None:
        super().__init__(start)
        self.whole = start == START

    def expect(self, account: str, by: int, balance: int | None) -> None:
        if not self.whole and account not in self.now and balance is not None:
            return
        super().expect(account, by, balance)


class _Legs:
    """A range's stored postings, in the order of their entries."""

    def __init__(self, rows: Generator[Any]) -> None:
        self._rows = rows
        self._next = next(self._rows, None)
        self.close = self._rows.close

    def of(self, epoch: int, n: int) -> list[Any]:
        """An entry's stored postings, flattened. Raises _Found when an entry before it has some that do not exist."""
        self.none_before(epoch, n)
        found: list[Any] = []
        while self._next is not None and (self._next[1], self._next[2]) == (epoch, n):
            found += self._next
            self._next = next(self._rows, None)
        return found

    def none_before(self, epoch: int, n: int) -> None:
        if self._next is not None and (self._next[1], self._next[2]) < (epoch, n):
            raise _Found(f"{self._next[1]}-{self._next[2]}", "there are postings, but no entry")


def rederive(
    connection: Connection, partition: int, start: Head, up_to: Position, seen: Seen, *, most: int | None = None
) -> tuple[list[Wrong], Mark]:
    """Derive a range of rows, at most so many entries, up to the first wrong one. At END also compare the positions.

    `seen` is what this transaction saw of the rows after `start`. Returns the wrong row, and the last correct entry.
    Raises SQLAlchemyError.
    """
    known = _Balances(Mark(start.epoch, start.n, start.hash))
    after = BEGIN if known.whole else start.position
    these = range_of(partition, after, up_to)
    rows = _some(connection, _ENTRIES, these | {"most": ALL if most is None else most}, seen.entries)
    wrong = []
    try:
        with closing(rows), closing(_Legs(_some(connection, _STORED, these, seen.legs))) as stored:
            read = _derive(partition, rows, stored, known)
            if most is None or read < most:
                stored.none_before(*END)
        if up_to == END:
            _compare_positions(connection, partition, known, seen)
    except _Found as found:
        wrong = [Wrong(partition, found.where, found.what)]
    return wrong, known.mark


def _derive(partition: int, rows: Iterable[Any], stored: _Legs, known: _Balances) -> int:
    """Derive these entries. Returns how many there were. Raises _Found."""
    read = 0
    version = 1
    for read, columns in enumerate(rows, 1):  # noqa: B007
        row = EntryRow(*columns)
        theirs = stored.of(row.epoch, row.n)
        try:
            if not version <= row.version <= VERSION:
                raise WrongRow(f": version {row.version} of the chain after version {version}")
            known.mark = _derive_one(partition, columns, row, theirs, known)
        except WrongRow as wrong:
            raise _Found(f"{row.epoch}-{row.n}", str(wrong).partition(": ")[2]) from None
        except (Misfit, ValidationError) as error:
            raise _Found(f"{row.epoch}-{row.n}", str(error)) from None
        version = row.version
    return read


def _derive_one(partition: int, columns: Any, row: EntryRow, theirs: list[Any], known: _Balances) -> Mark:
    """Compare an entry and its stored postings with what follows from its canonical part. Returns its mark.

    Raises _Found, WrongRow, Misfit, ValidationError.
    """
    entry = entry_of(row)
    mark = known.mark
    if not mark.follows(entry):
        raise _Found(f"{row.epoch}-{row.n}", f"follows {mark.epoch}-{mark.n}: entries between them are missing")
    new = entry.viewer not in known.now
    hash_, ours, stored = follow(partition, mark, entry, known)
    if hash_ != row.hash:
        raise _Found(f"{row.epoch}-{row.n}", "the hash does not follow")
    if ours != columns[OF_DERIVED]:  # the entry has the other columns from this row
        raise _Found(f"{row.epoch}-{row.n}", _difference(DERIVED, ours, columns[OF_DERIVED]))
    if entry.text is not None and digest(entry.text.encode()) != entry.about.digest:
        raise _Found(f"{row.epoch}-{row.n}", "the text is not the one that its body names")
    if theirs != [*stored]:
        raise _Found(f"{row.epoch}-{row.n}", _difference_of_legs([*stored], theirs))
    if new and entry.about.viewer and keys.partition_of(entry.about.viewer) != partition:
        raise _Found(f"{row.epoch}-{row.n}", f"{entry.viewer} is of another partition")
    return Mark(row.epoch, row.n, hash_)


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
            return f"it has {len(theirs) // size} stored postings, but should have {len(ours) // size}"
        if we != they:
            return f"a posting's {_difference(_LEG, we, they)}"
    raise AssertionError("they are equal")


def _compare_positions(connection: Connection, partition: int, known: _Balances, seen: Seen) -> None:
    """Compare the derived balances with `positions`. If all entries were derived, there must be no other positions."""
    accounts = None if known.whole else list(known.now)
    there = dict(_positions(connection, partition, accounts)) if seen.positions else {}
    for account in sorted({*there, *known.now}):
        held, balance = there.get(account), known.now.get(account)
        if held == balance:
            continue
        if balance is None:
            raise _Found(account, f"has a position of {held}, but no entry moves it")
        if held is None:
            raise _Found(account, f"has no position, but {balance} after its last entry")
        raise _Found(account, f"has a position of {held}, but {balance} after its last entry")


def _positions(connection: Connection, partition: int, accounts: list[str] | None) -> Iterator[tuple[str, int]]:
    if accounts is None:
        yield from connection.execute(_HELD, {"partition": partition})
        return
    for each in chunks(accounts):
        yield from connection.execute(_HELD_BY, {"partition": partition, "accounts": each})


def _some(connection: Connection, query: Select[Any], these: dict[str, int], counted: int) -> Generator[Any]:
    """A query's rows, some at a time if there are many, until the generator is closed."""
    if not counted:
        return
    options = {"yield_per": limits.AUDIT_ROWS} if counted > limits.AUDIT_ROWS else {}
    with connection.execute(query, these, execution_options=options) as rows:
        for some in rows.partitions(limits.AUDIT_ROWS):  # row by row would cost a call of SQLAlchemy for each
            yield from some
