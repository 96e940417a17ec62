"""The SQL side of the drain: writes rows, postings, positions and watermark together, and sets misfits aside."""

from itertools import chain

import msgspec
import structlog
from sqlalchemy import Connection, Engine, bindparam, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from server import limits
from server.clock import Clock
from server.journal import fence
from server.journal.books import START, Gap, LogEntry, Mark, Misfit, Positions, Rows, Unreadable, book
from server.journal.bulk import insert_many, upsert_many
from server.journal.database import patient, reading
from server.journal.days import Days
from server.journal.posted import Posted
from server.journal.tables import entries, legs, positions, quarantine, watermarks

log = structlog.get_logger()

Entries = list[LogEntry | Unreadable]
Logs = dict[int, Entries]


class LostRace(SQLAlchemyError):
    """Another drain has journaled these entries, or another store has taken over. Our transaction is rolled back."""


class Batch:
    """What one transaction writes, and the log entries that it comes from."""

    def __init__(self, logs: Logs) -> None:
        self.logs = logs
        self.size = 0  # entries
        self.rows = Rows()
        self.posted = Posted()
        self.days = Days()
        self.moved: dict[int, tuple[Mark, Mark]] = {}
        self.balances: list[tuple[int, str, int]] = []  # rows of `positions`
        self.misfits: dict[int, tuple[Mark, LogEntry | Unreadable, str]] = {}

    def unread(self, full: int) -> dict[int, Mark]:
        """The marks of logs that may have more entries: `full` were read. A partition with a misfit is left out."""
        return {
            partition: mark
            for partition, (_, mark) in self.moved.items()
            if len(self.logs[partition]) == full and partition not in self.misfits
        }


class Ledger:
    """Writes what the logs have into the journal. Their partitions have no other writer; the books are `pen`'s.

    A batch may be prepared while the one before it is written: it uses the balances after that one. If that write
    fails, this batch must not be written, and `forget` drops all balances.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = patient(engine, limits.SQL_DRAIN_S)
        self._clock = clock
        self.held: dict[int, fence.Held] = {}  # which store each partition's entries must come from; empty: any
        # Balances are kept from round to round, each partition's as of a mark. Another writer has moved that mark: then
        # they are read again, and a transaction that used them is rolled back (_move_marks, _check_mark).
        self._known: dict[int, Positions] = {}

    def begin(self) -> tuple[dict[int, Mark], dict[int, str]]:
        """Read the marks, and why partitions are frozen. Call this only while nothing is written."""
        if sum(len(known.now) for known in self._known.values()) > limits.POSITIONS_KEPT_MAX:
            self._known.clear()
        with reading(self._engine).connect() as connection:
            stuck = {row.partition: row.reason for row in connection.execute(_STUCK)}
            marks = _marks(connection)
            self.held = fence.held(connection)
        for partition in stuck:  # a repair may change balances
            self._known.pop(partition, None)
        return marks, stuck

    def marks(self) -> dict[int, Mark]:
        """Read how far each partition is journaled."""
        with reading(self._engine).connect() as connection:
            return _marks(connection)

    def forget(self) -> None:
        """Drop the balances: they include entries that were not journaled."""
        self._known.clear()

    def prepare(self, marks: dict[int, Mark], logs: Logs) -> Batch:
        """Check each entry's number and balances, and turn it into rows. Raises SQLAlchemyError."""
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
        """Write a batch in one transaction, and return the number of its entries. Raises SQLAlchemyError, LostRace.

        IntegrityError and DataError mean that the database refuses a row: `write_one_by_one` finds it.
        """
        if not batch.size and not batch.misfits:
            return 0
        with self._engine.begin() as connection:
            self._check_fence(connection, batch)
            _move_marks(connection, batch.moved)
            insert_many(connection, entries, batch.rows.entries)
            insert_many(connection, legs, batch.rows.legs)
            batch.days.write(connection)
            if batch.balances:
                upsert_many(connection, positions, batch.balances)
            batch.posted.write(connection)
            for partition, (mark, entry, reason) in batch.misfits.items():
                _check_mark(connection, partition, mark)
                self._set_aside(connection, partition, entry, reason)
        return batch.size

    def write_one_by_one(self, logs: Logs) -> int:
        """Find the row that the database refuses and set it aside, so that it stops only its own partition."""
        written = 0
        for partition, found in logs.items():
            for entry in found:
                moved = self._write_one(partition, entry)
                written += moved
                if not moved:
                    break
        return written

    def _check_fence(self, connection: Connection, batch: Batch) -> None:
        """Check that no store took over since the entries were read, and let none do so now. Raises LostRace."""
        lost = fence.check(connection, batch.moved.keys() | batch.misfits.keys(), self.held)
        if lost is not None:
            raise LostRace(f"another store has taken over partition {lost}")

    # --- one transaction ---------------------------------------------------------------------------------------
    def _book(self, batch: Batch, partition: int, known: Positions, found: Entries) -> None:
        """Turn a partition's entries into rows, up to the first misfit."""
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
            kind = entry.kind
            assert kind is not None, "an unknown kind is a misfit"
            batch.days.note(entry, kind)
            if kind.order:
                batch.posted.note(entry.about, entry.at_ms, entry.balance)

    def _learn(self, marks: dict[int, Mark], logs: Logs) -> None:
        """Read the balances, as of the marks, of all accounts that these entries move."""
        missing: dict[int, list[str]] = {}
        for partition, found in logs.items():
            known = self._known.get(partition)
            if known is None or known.mark != marks[partition]:
                known = self._known[partition] = Positions(marks[partition])
            readable = [entry for entry in found if isinstance(entry, LogEntry)]
            moved = {entry.viewer for entry in readable if entry.balance is not None}
            moved |= {entry.creator for entry in readable if entry.credited is not None}
            if new := moved - known.now.keys():
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
                body=entry.entry.decode(errors="replace"),
                at_ms=self._clock.now_ms(),
            )
        )

    def _write_one(self, partition: int, entry: LogEntry | Unreadable) -> int:
        """Write one entry in a transaction of its own: 1, or 0 when its partition stops. Raises SQLAlchemyError."""
        mark = self.marks()[partition]
        if isinstance(entry, LogEntry) and not mark.follows(entry):
            return 0  # another drain has written it
        try:
            return self.write(self.prepare({partition: mark}, {partition: [entry]}))
        except (IntegrityError, DataError) as error:
            self.forget()
            if self.marks()[partition] != mark:
                raise LostRace(f"another drain moved partition {partition}") from None
            reason = f"the journal refuses it: {error.orig}"
            refused = Unreadable(epoch=entry.epoch, n=entry.n, entry=entry.entry, reason=reason)
            return self.write(self.prepare({partition: mark}, {partition: [refused]}))


_STUCK = select(quarantine.c.partition, quarantine.c.reason).where(quarantine.c.partition != limits.BOOKS)


def _marks(connection: Connection) -> dict[int, Mark]:
    """How far each log is journaled. Without the books: those have none."""
    marks = dict.fromkeys(range(limits.WALLET_PARTITIONS), START)
    for row in connection.execute(select(watermarks).where(watermarks.c.partition != limits.BOOKS)):
        marks[row.partition] = Mark(row.epoch, row.n, row.hash)
    return marks


_MARK_MOVED = (
    update(watermarks)
    .where(watermarks.c.partition == bindparam("of"), watermarks.c.hash == bindparam("was"))
    .values(epoch=bindparam("to_epoch"), n=bindparam("to_n"), hash=bindparam("to_hash"))
)


def _move_marks(connection: Connection, moved: dict[int, tuple[Mark, Mark]]) -> None:
    """Move the marks from where this drain read them: of two drains, one changes too few rows. Raises LostRace."""
    first = [(p, after.epoch, after.n, after.hash) for p, (before, after) in moved.items() if before == START]
    insert_many(connection, watermarks, list(chain.from_iterable(first)))
    later = [
        {"of": p, "was": before.hash, "to_epoch": after.epoch, "to_n": after.n, "to_hash": after.hash}
        for p, (before, after) in moved.items()
        if before != START
    ]
    if later and connection.execute(_MARK_MOVED, later).rowcount != len(later):
        raise LostRace("another drain moved a partition")


def _check_mark(connection: Connection, partition: int, mark: Mark) -> None:
    """Check that the mark has not moved since the misfit was found, or the entry may fit now. Raises LostRace."""
    if mark == START:
        there = connection.execute(select(watermarks.c.n).where(watermarks.c.partition == partition)).first()
        if there is not None:
            raise LostRace(f"another drain moved partition {partition}")
        return
    where = (watermarks.c.partition == partition, watermarks.c.hash == mark.hash)
    if connection.execute(update(watermarks).where(*where).values(hash=mark.hash)).rowcount != 1:
        raise LostRace(f"another drain moved partition {partition}")
