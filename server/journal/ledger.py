"""The SQL side of the drain: rows, postings, positions and watermark together; what does not fit is set aside."""

from typing import Any

import msgspec
import structlog
from sqlalchemy import Connection, Engine, bindparam, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from server import limits
from server.clock import Clock
from server.journal.books import START, Gap, Leg, LogEntry, Mark, Misfit, Positions, Row, Unreadable, book
from server.journal.bulk import insert_many, put_many
from server.journal.database import reading
from server.journal.tables import entries, positions, postings, quarantine, reversals, topups, watermarks

log = structlog.get_logger()

Entries = list[LogEntry | Unreadable]
Logs = dict[int, Entries]


class LostRace(SQLAlchemyError):
    """Another drain has moved this partition: it has the rows, ours are rolled back."""


class Batch:
    """What one transaction writes."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.legs: list[Leg] = []
        self.posted: list[dict[str, Any]] = []
        self.reversed: list[dict[str, Any]] = []
        self.moved: dict[int, tuple[Mark, Mark]] = {}
        self.misfits: dict[int, tuple[LogEntry | Unreadable, str]] = {}


class Ledger:
    """The journal as its one writer sees it."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        # Balances from round to round, each partition's as of a mark. Whoever else wrote has moved that mark: then they
        # are read anew, and the transaction that went by them is rolled back (_move_marks, _hold_mark).
        self._known: dict[int, Positions] = {}

    def marks(self) -> dict[int, Mark]:
        """How far each partition is journaled."""
        marks = dict.fromkeys(range(limits.WALLET_PARTITIONS), START)
        with reading(self._engine).connect() as connection:
            for row in connection.execute(select(watermarks)):
                marks[row.partition] = Mark(row.epoch, row.n, row.hash)
        return marks

    def stuck(self) -> dict[int, str]:
        """Partitions that stand still in front of an entry that does not fit, and why."""
        with reading(self._engine).connect() as connection:
            rows = connection.execute(select(quarantine.c.partition, quarantine.c.reason))
            found = {row.partition: row.reason for row in rows}
        for partition in found:  # whoever puts it right may put balances right
            self._known.pop(partition, None)
        return found

    def write(self, marks: dict[int, Mark], logs: Logs) -> int:
        """Journal the entries; how many. Raises SQLAlchemyError (LostRace), and then nothing is written."""
        try:
            return self._write(marks, logs)
        except (IntegrityError, DataError):
            return self._write_one_by_one(logs)

    # --- one transaction ---------------------------------------------------------------------------------------
    def _write(self, marks: dict[int, Mark], logs: Logs) -> int:
        try:
            batch = self._prepare(marks, logs)
            self._commit(batch)
        except BaseException:
            self._known.clear()  # they have moved along with entries that are not journaled
            raise
        for known in self._known.values():
            known.changed.clear()
        return len(batch.rows)

    def _prepare(self, marks: dict[int, Mark], logs: Logs) -> Batch:
        """Check every entry against the ones before it: number, hash, balances."""
        batch = Batch()
        self._learn(marks, logs)
        for partition, found in logs.items():
            known = self._known[partition]
            mark = known.mark
            for entry in found:
                if isinstance(entry, Unreadable):
                    batch.misfits[partition] = (entry, entry.reason)
                    break
                try:
                    mark, row, legs = book(partition, mark, entry, known)
                except (Gap, Misfit, msgspec.ValidationError) as error:
                    batch.misfits[partition] = (entry, str(error))
                    break
                batch.rows.append(row)
                batch.legs += legs
                if row.kind == "topup":
                    batch.posted.append({"topup": row.ref, "after": row.balance})
                elif row.kind in ("refund", "chargeback"):
                    batch.reversed.append({"of_kind": row.kind, "of_ref": row.ref, "of_user": row.user_id})
            if mark is not known.mark:
                batch.moved[partition] = (known.mark, mark)
                known.mark = mark
        return batch

    def _learn(self, marks: dict[int, Mark], logs: Logs) -> None:
        """The accounts that these entries move, as they stand after the marks."""
        if sum(len(known.now) for known in self._known.values()) > limits.POSITIONS_KEPT_MAX:
            self._known.clear()
        missing: dict[int, list[str]] = {}
        for partition, found in logs.items():
            known = self._known.get(partition)
            if known is None or known.mark != marks[partition]:
                known = self._known[partition] = Positions(marks[partition])
            told = {account for entry in found if isinstance(entry, LogEntry) for account in entry.accounts()}
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

    def _commit(self, batch: Batch) -> None:
        if not batch.rows and not batch.misfits:
            return
        with self._engine.begin() as connection:
            _move_marks(connection, batch.moved)
            if batch.rows:
                insert_many(connection, entries, batch.rows)
            if batch.legs:
                insert_many(connection, postings, batch.legs)
            changed = [(p, *balance) for p in batch.moved for balance in self._known[p].changed.items()]
            if changed:
                put_many(connection, positions, changed)
            if batch.posted:
                connection.execute(_TOPUP_POSTED, batch.posted)
            if batch.reversed:
                connection.execute(_REVERSAL_POSTED, batch.reversed)
            for partition, (entry, reason) in batch.misfits.items():
                _hold_mark(connection, partition, self._known[partition].mark)
                self._set_aside(connection, partition, entry, reason)

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

    def _write_one_by_one(self, logs: Logs) -> int:
        """A row broke a unique key: find it and set it aside, so that it stops its partition alone."""
        written = 0
        for partition, found in logs.items():
            for entry in found:
                mark = self.marks()[partition]
                if isinstance(entry, LogEntry) and not mark.follows(entry):
                    break  # another drain was here
                try:
                    moved = self._write({partition: mark}, {partition: [entry]})
                except (IntegrityError, DataError) as error:
                    if self.marks()[partition] != mark:
                        raise LostRace(f"another drain moved partition {partition}") from None
                    refused = Unreadable(
                        epoch=entry.epoch,
                        n=entry.n,
                        body=entry.body,
                        reason=f"the journal does not take it: {error.orig}",
                    )
                    self._write({partition: mark}, {partition: [refused]})
                    break
                written += moved
                if not moved:
                    break
        return written


_TOPUP_POSTED = (
    update(topups).where(topups.c.id == bindparam("topup")).values(state="posted", balance=bindparam("after"))
)

_REVERSAL_POSTED = (
    update(reversals)
    .where(reversals.c.kind == bindparam("of_kind"), reversals.c.ref == bindparam("of_ref"))
    .where(reversals.c.user_id == bindparam("of_user"))
    .values(state="posted")
)


_MARK_MOVED = (
    update(watermarks)
    .where(watermarks.c.partition == bindparam("of"), watermarks.c.hash == bindparam("was"))
    .values(epoch=bindparam("to_epoch"), n=bindparam("to_n"), hash=bindparam("to_hash"))
)


def _move_marks(connection: Connection, moved: dict[int, tuple[Mark, Mark]]) -> None:
    """Only from where this drain read them: of two drains one changes too few rows and fails. Raises LostRace."""
    first = [(p, after.epoch, after.n, after.hash) for p, (before, after) in moved.items() if before == START]
    if first:
        insert_many(connection, watermarks, first)
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
