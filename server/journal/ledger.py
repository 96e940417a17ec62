"""The SQL side of the drain: rows, postings, positions and watermark together; what does not fit is set aside."""

from itertools import chain
from typing import Any

import msgspec
import structlog
from sqlalchemy import Connection, Engine, bindparam, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from server import limits
from server.clock import Clock
from server.entries import KINDS, REFUND, TOPUP
from server.journal.books import START, Gap, LogEntry, Mark, Misfit, Positions, Rows, Unreadable, book
from server.journal.bulk import insert_many, put_many
from server.journal.database import patient, reading
from server.journal.tables import entries, positions, postings, quarantine, reversals, topups, watermarks

log = structlog.get_logger()

Entries = list[LogEntry | Unreadable]
Logs = dict[int, Entries]


class LostRace(SQLAlchemyError):
    """Another drain has moved this partition: it has the rows, ours are rolled back."""


class Batch:
    """What one transaction writes, and the entries that it is of."""

    def __init__(self, logs: Logs) -> None:
        self.logs = logs
        self.size = 0  # entries
        self.rows = Rows()
        self.posted: dict[str, list[dict[str, Any]]] = {table: [] for table in _POSTED}  # orders that are done
        self.moved: dict[int, tuple[Mark, Mark]] = {}
        self.balances: list[tuple[int, str, int]] = []  # rows of `positions`
        self.misfits: dict[int, tuple[Mark, LogEntry | Unreadable, str]] = {}

    def unread(self, full: int) -> dict[int, Mark]:
        """Where the logs may go on of which `full` entries were read; not behind one that does not fit."""
        return {
            partition: mark
            for partition, (_, mark) in self.moved.items()
            if len(self.logs[partition]) == full and partition not in self.misfits
        }


class Ledger:
    """The journal as its one writer sees it.

    A batch may be prepared while the one before it is written: it goes by the balances that will stand then. When that
    is not written after all, neither may this be, and all is forgotten (`forget`).
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = patient(engine, limits.SQL_DRAIN_S)
        self._clock = clock
        # Balances from round to round, each partition's as of a mark. Whoever else wrote has moved that mark: then they
        # are read anew, and the transaction that went by them is rolled back (_move_marks, _hold_mark).
        self._known: dict[int, Positions] = {}

    def begin(self) -> tuple[dict[int, Mark], dict[int, str]]:
        """The marks, and why partitions stand still, read anew while nothing is being written."""
        if sum(len(known.now) for known in self._known.values()) > limits.POSITIONS_KEPT_MAX:
            self._known.clear()
        with reading(self._engine).connect() as connection:
            stuck = {row.partition: row.reason for row in connection.execute(_STUCK)}
            marks = _marks(connection)
        for partition in stuck:  # whoever puts it right may put balances right
            self._known.pop(partition, None)
        return marks, stuck

    def marks(self) -> dict[int, Mark]:
        """How far each partition is journaled."""
        with reading(self._engine).connect() as connection:
            return _marks(connection)

    def forget(self) -> None:
        """The balances: they have moved along with entries that are not journaled."""
        self._known.clear()

    def prepare(self, marks: dict[int, Mark], logs: Logs) -> Batch:
        """Check every entry against the ones before it: number, hash, balances. Raises SQLAlchemyError."""
        batch = Batch(logs)
        self._learn(marks, logs)
        for partition, found in logs.items():
            known = self._known[partition]
            before = known.mark
            self._book(batch, partition, known, found)
            if known.mark is not before:
                batch.moved[partition] = (before, known.mark)
            batch.balances += [(partition, *changed) for changed in known.changed.items()]
            known.changed.clear()
        return batch

    def write(self, batch: Batch) -> int:
        """Journal what was prepared; how many entries. Raises SQLAlchemyError (LostRace), and nothing is written.

        IntegrityError and DataError are of a row that the journal does not take: `write_one_by_one` finds it.
        """
        if not batch.size and not batch.misfits:
            return 0
        with self._engine.begin() as connection:
            _move_marks(connection, batch.moved)
            insert_many(connection, entries, batch.rows.entries)
            insert_many(connection, postings, batch.rows.postings)
            if batch.balances:
                put_many(connection, positions, batch.balances)
            for table, done in batch.posted.items():
                if done:
                    connection.execute(_POSTED[table][0], done)
            for partition, (mark, entry, reason) in batch.misfits.items():
                _hold_mark(connection, partition, mark)
                self._set_aside(connection, partition, entry, reason)
        return batch.size

    def write_one_by_one(self, logs: Logs) -> int:
        """A row broke a unique key: find it and set it aside, so that it stops its partition alone."""
        written = 0
        for partition, found in logs.items():
            for entry in found:
                moved = self._write_one(partition, entry)
                written += moved
                if not moved:
                    break
        return written

    # --- one transaction ---------------------------------------------------------------------------------------
    def _book(self, batch: Batch, partition: int, known: Positions, found: Entries) -> None:
        """A partition's entries as rows, up to the first that does not fit."""
        for entry in found:
            if isinstance(entry, Unreadable):
                batch.misfits[partition] = (known.mark, entry, entry.reason)
                return
            try:
                known.mark = book(partition, known.mark, entry, known, batch.rows)
            except (Gap, Misfit, msgspec.ValidationError) as error:
                batch.misfits[partition] = (known.mark, entry, str(error))
                return
            batch.size += 1
            if (kind := entry.kind) is not None and kind.order:
                batch.posted[kind.order].append(_POSTED[kind.order][1](entry))

    def _learn(self, marks: dict[int, Mark], logs: Logs) -> None:
        """The accounts that these entries move, as they stand after the marks."""
        missing: dict[int, list[str]] = {}
        for partition, found in logs.items():
            known = self._known.get(partition)
            if known is None or known.mark != marks[partition]:
                known = self._known[partition] = Positions(marks[partition])
            listed = [entry for entry in found if isinstance(entry, LogEntry)]
            told = {entry.viewer for entry in listed if entry.balance is not None}
            told |= {entry.creator for entry in listed if entry.credited is not None}
            if new := told - known.now.keys():
                missing[partition] = list(new)
        if not missing:
            return
        with reading(self._engine).connect() as connection:
            for partition, accounts in missing.items():
                known = self._known[partition]
                known.now.update(dict.fromkeys(accounts, 0))
                query = select(positions).where(positions.c.partition == partition)
                for row in connection.execute(query.where(positions.c.account.in_(accounts))):
                    known.now[row.account] = row.balance

    def _set_aside(self, connection: Connection, partition: int, entry: LogEntry | Unreadable, reason: str) -> None:
        log.error("partition_stuck", partition=partition, entry=f"{entry.epoch}-{entry.n}", reason=reason)
        connection.execute(
            insert(quarantine).values(
                partition=partition,
                epoch=entry.epoch,
                n=entry.n,
                reason=reason,
                body=entry.body.decode(errors="replace"),
                at_ms=self._clock.now_ms(),
            )
        )

    def _write_one(self, partition: int, entry: LogEntry | Unreadable) -> int:
        """In a transaction of its own: 1, or 0 where the partition does not go on. Raises SQLAlchemyError."""
        mark = self.marks()[partition]
        if isinstance(entry, LogEntry) and not mark.follows(entry):
            return 0  # another drain was here
        try:
            return self.write(self.prepare({partition: mark}, {partition: [entry]}))
        except (IntegrityError, DataError) as error:
            self.forget()
            if self.marks()[partition] != mark:
                raise LostRace(f"another drain moved partition {partition}") from None
            reason = f"the journal does not take it: {error.orig}"
            refused = Unreadable(epoch=entry.epoch, n=entry.n, body=entry.body, reason=reason)
            return self.write(self.prepare({partition: mark}, {partition: [refused]}))


_STUCK = select(quarantine.c.partition, quarantine.c.reason)


def _marks(connection: Connection) -> dict[int, Mark]:
    marks = dict.fromkeys(range(limits.WALLET_PARTITIONS), START)
    for row in connection.execute(select(watermarks)):
        marks[row.partition] = Mark(row.epoch, row.n, row.hash)
    return marks


def _topup(entry: LogEntry) -> dict[str, Any]:
    return {"of_id": entry.about.id, "after": entry.balance}


def _reversal(entry: LogEntry) -> dict[str, Any]:
    return {"of_kind": entry.about.kind, "of_ref": entry.about.id, "of_user": entry.about.viewer}


# By the table of the orders: how one of them is marked as done, and with which values of its entry.
_POSTED = {
    TOPUP.order: (
        update(topups).where(topups.c.id == bindparam("of_id")).values(state="posted", balance=bindparam("after")),
        _topup,
    ),
    REFUND.order: (
        update(reversals)
        .where(reversals.c.kind == bindparam("of_kind"), reversals.c.ref == bindparam("of_ref"))
        .where(reversals.c.user_id == bindparam("of_user"))
        .values(state="posted"),
        _reversal,
    ),
}
assert set(_POSTED) == {kind.order for kind in KINDS.values() if kind.order}

_MARK_MOVED = (
    update(watermarks)
    .where(watermarks.c.partition == bindparam("of"), watermarks.c.hash == bindparam("was"))
    .values(epoch=bindparam("to_epoch"), n=bindparam("to_n"), hash=bindparam("to_hash"))
)


def _move_marks(connection: Connection, moved: dict[int, tuple[Mark, Mark]]) -> None:
    """Only from where this drain read them: of two drains one changes too few rows and fails. Raises LostRace."""
    first = [(p, after.epoch, after.n, after.hash) for p, (before, after) in moved.items() if before == START]
    insert_many(connection, watermarks, list(chain.from_iterable(first)))
    later = [
        {"of": p, "was": before.hash, "to_epoch": after.epoch, "to_n": after.n, "to_hash": after.hash}
        for p, (before, after) in moved.items()
        if before != START
    ]
    if later and connection.execute(_MARK_MOVED, later).rowcount != len(later):
        raise LostRace("another drain moved a partition")


def _hold_mark(connection: Connection, partition: int, mark: Mark) -> None:
    """That nobody has moved the partition since the entry was found not to fit: else it may fit. Raises LostRace."""
    if mark == START:
        there = connection.execute(select(watermarks.c.n).where(watermarks.c.partition == partition)).first()
        if there is not None:
            raise LostRace(f"another drain moved partition {partition}")
        return
    where = (watermarks.c.partition == partition, watermarks.c.hash == mark.hash)
    if connection.execute(update(watermarks).where(*where).values(hash=mark.hash)).rowcount != 1:
        raise LostRace(f"another drain moved partition {partition}")
