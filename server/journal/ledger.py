"""The SQL side of the drain: rows, postings, positions and watermark together; what does not fit is set aside."""

from typing import Any

import msgspec
import structlog
from sqlalchemy import Connection, Engine, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from server import limits
from server.clock import Clock
from server.journal.books import START, Gap, LogEntry, Mark, Misfit, Positions, Unreadable, book
from server.journal.database import reading
from server.journal.tables import entries, positions, postings, quarantine, reversals, topups, watermarks

log = structlog.get_logger()

Logs = dict[int, list[LogEntry | Unreadable]]


def accounts_of(entry: LogEntry | Unreadable) -> list[str]:
    return entry.accounts() if isinstance(entry, LogEntry) else []


class LostRace(SQLAlchemyError):
    """Another drain has moved this partition: it has the rows, ours are rolled back."""


class Batch:
    """What one transaction writes."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.legs: list[dict[str, Any]] = []
        self.posted: list[dict[str, Any]] = []
        self.reversed: list[dict[str, Any]] = []
        self.moved: dict[int, tuple[Mark, Mark]] = {}
        self.positions: dict[tuple[int, str], int] = {}
        self.misfits: dict[int, tuple[LogEntry | Unreadable, str]] = {}
        self.marks: dict[int, Mark] = {}  # of the partitions with a misfit, as they were when it was found


class Ledger:
    """The journal as its one writer sees it."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

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
            return {row.partition: row.reason for row in rows}

    def write(self, marks: dict[int, Mark], logs: Logs) -> int:
        """Journal the entries; how many. Raises SQLAlchemyError (LostRace), and then nothing is written."""
        batch = self._prepare(marks, logs)
        try:
            self._commit(batch)
        except (IntegrityError, DataError):
            return self._write_one_by_one(logs)
        return len(batch.rows)

    # --- one transaction ---------------------------------------------------------------------------------------
    def _prepare(self, marks: dict[int, Mark], logs: Logs) -> Batch:
        """Check every entry against the ones before it: number, hash, balances."""
        batch = Batch()
        known = self._positions(logs)
        for partition, found in logs.items():
            mark = marks[partition]
            for entry in found:
                if isinstance(entry, Unreadable):
                    batch.misfits[partition] = (entry, entry.reason)
                    break
                try:
                    mark, row, legs = book(partition, mark, entry, known)
                except (Gap, Misfit, msgspec.DecodeError) as error:
                    batch.misfits[partition] = (entry, str(error))
                    break
                batch.rows.append(row)
                batch.legs += legs
                if row["kind"] == "topup":
                    batch.posted.append({"topup": row["ref"], "after": row["balance"]})
                elif row["kind"] in ("refund", "chargeback"):
                    batch.reversed.append({"of_kind": row["kind"], "of_ref": row["ref"], "of_user": row["user_id"]})
            if partition in batch.misfits:
                batch.marks[partition] = mark
            if mark is not marks[partition]:
                batch.moved[partition] = (marks[partition], mark)
        batch.positions = known.changed
        return batch

    def _positions(self, logs: Logs) -> Positions:
        """The accounts that these entries move, as they stand."""
        wanted = {(p, account) for p, found in logs.items() for entry in found for account in accounts_of(entry)}
        known = Positions()
        by_partition: dict[int, list[str]] = {}
        for partition, account in wanted:
            by_partition.setdefault(partition, []).append(account)
        with reading(self._engine).connect() as connection:
            for partition, accounts in by_partition.items():
                query = select(positions).where(positions.c.partition == partition)
                for row in connection.execute(query.where(positions.c.account.in_(accounts))):
                    known.stand(partition, row.account, row.balance)
        return known

    def _commit(self, batch: Batch) -> None:
        if not batch.rows and not batch.misfits:
            return
        with self._engine.begin() as connection:
            for partition, (before, after) in batch.moved.items():
                _move_mark(connection, partition, before, after)
            if batch.rows:
                connection.execute(insert(entries), batch.rows)
            if batch.legs:
                connection.execute(insert(postings), batch.legs)
            if batch.positions:
                _put_positions(connection, batch.positions)
            if batch.posted:
                connection.execute(_TOPUP_POSTED, batch.posted)
            if batch.reversed:
                connection.execute(_REVERSAL_POSTED, batch.reversed)
            for partition, (entry, reason) in batch.misfits.items():
                _hold_mark(connection, partition, batch.marks[partition])
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
                batch = self._prepare({partition: mark}, {partition: [entry]})
                try:
                    self._commit(batch)
                except (IntegrityError, DataError) as error:
                    if self.marks()[partition] != mark:
                        raise LostRace(f"another drain moved partition {partition}") from None
                    aside = Batch()
                    aside.misfits[partition] = (entry, f"the journal does not take it: {error.orig}")
                    aside.marks[partition] = mark
                    self._commit(aside)
                    break
                written += len(batch.rows)
                if batch.misfits:
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


def _move_mark(connection: Connection, partition: int, before: Mark, after: Mark) -> None:
    """Only from where this drain read it: of two drains one changes no row and fails. Raises LostRace."""
    values = {"epoch": after.epoch, "n": after.n, "hash": after.hash}
    if before is START:
        connection.execute(insert(watermarks).values(partition=partition, **values))
        return
    changed = connection.execute(
        update(watermarks).where(watermarks.c.partition == partition, watermarks.c.hash == before.hash).values(**values)
    )
    if changed.rowcount != 1:
        raise LostRace(f"another drain moved partition {partition}")


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


def _put_positions(connection: Connection, changed: dict[tuple[int, str], int]) -> None:
    """Insert or update: both databases know the same ON CONFLICT, each by its own dialect's insert."""
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = make(positions)
    statement = statement.on_conflict_do_update(
        index_elements=["partition", "account"], set_={"balance": statement.excluded.balance}
    )
    rows = [{"partition": p, "account": account, "balance": balance} for (p, account), balance in changed.items()]
    connection.execute(statement, rows)
