"""Repairs frozen partitions: explains each, corrects what can be proven, and thaws it when nothing is wrong any longer.

A partition is frozen twice: by its rows in `quarantine`, and by a flag in the wallet store that the journal sets from
them. A thaw checks first: what is still wrong stays frozen.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import structlog
from msgspec import Struct
from sqlalchemy import Engine, delete

from server import limits
from server.clock import Clock
from server.journal import findings, imports, of_books, scan
from server.journal.audit import SCRIPTS as AUDIT_SCRIPTS
from server.journal.audit import Audit, StillMoving, Wrong
from server.journal.books import LogEntry, Mark, Unreadable, parse
from server.journal.claimed import Stray, strays
from server.journal.correct import SCRIPTS as CORRECT_SCRIPTS
from server.journal.correct import NotFrozen, correct
from server.journal.database import reading
from server.journal.imports import Imported, Source
from server.journal.ledger import Ledger
from server.journal.log import after
from server.journal.rebuild import Broken, Position, Rebuilt, rebuild
from server.journal.sides import Side, side_of
from server.journal.tables import lot_snapshots, quarantine, reversal_parts
from server.store import keys
from server.store.client import Store, StoreRefused, of_one_key
from server.store.cluster import ClusterStore

log = structlog.get_logger()

OF_DERIVED = f"{reversal_parts.name}:", f"{lot_snapshots.name}:"  # so findings about them begin


class Frozen(Struct, frozen=True, kw_only=True):
    """A frozen partition. `wrong` is what an audit finds now; `waiting` counts entries that are not journaled.

    `misfit` says that the first finding is an entry of the log that the drain could not journal.
    `missing` names the entries that neither the journal nor the log has: the first and the last of them.
    `lost` says that the store's log is gone or cannot be read, so that only the journal has it.
    `rebuilt` is what a rebuild would correct in the journal, or None when the journal's own copies do not suffice.
    """

    partition: int
    reasons: list[str]
    in_store: bool
    waiting: int
    wrong: list[Wrong]
    sides: list[Side] = []
    misfit: bool = False
    missing: tuple[str, str] | None = None
    lost: bool = False
    rebuilt: Rebuilt | None = None

    @property
    def advice(self) -> str:
        """What would be done, with the command."""
        command, n = "python -m server repair", self.partition
        if self.missing is not None:
            first, last = self.missing
            return f"take {first} to {last} from a backup of the journal: {command} --import BACKUP"
        if self.lost:
            return f"delete what the wallet store has of it, and let the nodes fill it again: {command} --empty {n}"
        return self._of_rows(command) if self.wrong else f"nothing is wrong now: {command} --thaw {n}"

    def _of_rows(self, command: str) -> str:
        n = self.partition
        if self.rebuilt is None:
            return f"take the changed rows from a backup of the journal: {command} --rebuild {n} --import BACKUP"
        if self.rebuilt.changed:
            rows = self.rebuilt
            what = f"{rows.entries} entries, {rows.legs} entries' stored postings and {rows.positions} positions"
            return f"correct {what} in the journal: {command} --rebuild {n}"
        if self.misfit:
            return f"no command changes an entry of the log; docs/operations.md says what is left to do with {n}"
        derived = any(wrong.where.startswith(OF_DERIVED) for wrong in self.wrong)
        again = f"derive parts of reversals and kept lots again: {command} --rebuild {n}"
        return again if derived else f"set the wallet store to what the journal says: {command} --correct {n}"


class StillWrong(Exception):
    """A partition that is still wrong is not thawed. `wrong` is the first finding."""

    def __init__(self, wrong: Wrong) -> None:
        super().__init__(f"{wrong.where}: {wrong.what}")
        self.wrong = wrong


class _Waiting(Struct, frozen=True):
    """The entries behind the watermark, up to the first misfit, and that misfit as a finding."""

    entries: list[LogEntry]
    wrong: list[Wrong]
    missing: tuple[str, str] | None = None


class Repair:
    """Checks frozen partitions, corrects them, and thaws them."""

    def __init__(self, engine: Engine, wallet: Store | ClusterStore, clock: Clock) -> None:
        self._engine = engine
        self._wallet = wallet
        self._clock = clock
        self._ledger = Ledger(engine, clock)
        self._audit = Audit(engine, wallet, clock)

    async def frozen(self, partitions: Sequence[int] = range(limits.BOOKS + 1)) -> list[Frozen]:
        """Check every frozen partition of these. Raises StoreError, SQLAlchemyError."""
        found = await asyncio.to_thread(findings.frozen, self._engine)
        reasons = {partition: why for partition, why in found.items() if partition in partitions}
        flags = await asyncio.gather(*map(self._flag, partitions))
        in_store = {p for p, flag in zip(partitions, flags, strict=True) if flag}
        return [await self._look(p, reasons.get(p, []), p in in_store) for p in sorted(in_store | reasons.keys())]

    async def _flag(self, partition: int) -> bool:
        """Whether the store says that a partition is frozen. Raises StoreError."""
        if partition == limits.BOOKS:
            return False
        try:
            return await self._wallet.call("HGET", keys.wallet_meta(partition), "frozen") is not None
        except StoreRefused as refused:
            if not of_one_key(refused):
                raise
            return False

    async def thaw(self, partition: int) -> Frozen:
        """Thaw a partition if nothing is wrong. Raises NotFrozen, StillWrong, StoreError, SQLAlchemyError."""
        found = next(iter(await self.frozen([partition])), None)
        if found is None:
            raise NotFrozen
        if found.wrong:
            raise StillWrong(found.wrong[0])
        await asyncio.to_thread(self._forget, partition)  # first, or the journal freezes the store again by these rows
        if partition != limits.BOOKS:
            await self._wallet.call("HDEL", keys.wallet_meta(partition), "frozen")
        log.info("partition_thawed", partition=partition, reasons=found.reasons)
        return found

    async def thaw_all(self) -> list[int]:
        """Thaw every frozen partition in which nothing is wrong. Raises StoreError, SQLAlchemyError."""
        thawed = [each.partition for each in await self.frozen() if not each.wrong]
        for partition in thawed:
            await self.thaw(partition)
        return thawed

    # --- claims of nobody --------------------------------------------------------------------------------------
    async def strays(self) -> list[Stray]:
        """The claims that only block an id. Raises StoreError, SQLAlchemyError."""
        found = [Stray(p, id) for p, names in (await scan.claims(self._wallet)).items() for id in names.claims]
        return await asyncio.to_thread(self._strays, found)

    def _strays(self, found: list[Stray]) -> list[Stray]:
        with reading(self._engine, limits.SQL_AUDIT_S).connect() as connection:
            return strays(connection, found)

    async def remove(self, stray: Stray) -> None:
        """Delete a claim that only blocks an id. Raises StoreError."""
        await self._wallet.call("UNLINK", keys.claim_in(stray.partition, stray.id))
        log.warning("claim_removed", id=stray.id, partition=stray.partition)

    # --- looking -----------------------------------------------------------------------------------------------
    async def _look(self, partition: int, reasons: list[str], in_store: bool) -> Frozen:
        if partition == limits.BOOKS:
            return await self._look_at_books(reasons)
        try:
            waiting = await self._waiting(partition)
        except StoreRefused as refused:
            if not of_one_key(refused):
                raise
            return _lost(partition, reasons, in_store, f"it cannot be read: {refused}")
        if await self._deleted(partition):
            return _lost(partition, reasons, in_store, "it was deleted, and the other keys of the partition were not")
        wrong = waiting.wrong
        if not wrong:
            try:
                wrong = await self._audit.look(partition, waiting.entries)
            except StillMoving as moving:
                wrong = [Wrong(partition, "log", f"{moving}; look again")]
        sides = [await side_of(self._engine, self._wallet, each) for each in wrong[: limits.REPAIR_SIDES]]
        return Frozen(
            partition=partition,
            reasons=reasons,
            in_store=in_store,
            waiting=len(waiting.entries),
            wrong=wrong,
            sides=[side for side in sides if side is not None],
            misfit=bool(waiting.wrong),
            missing=waiting.missing,
            rebuilt=await self._would_rebuild(partition) if wrong and waiting.missing is None else None,
        )

    async def _look_at_books(self, reasons: list[str]) -> Frozen:
        wrong = await asyncio.to_thread(self._wrong_in_books)
        rebuilt = await self._would_rebuild(limits.BOOKS) if wrong else None
        return Frozen(partition=limits.BOOKS, reasons=reasons, in_store=False, waiting=0, wrong=wrong, rebuilt=rebuilt)

    def _wrong_in_books(self) -> list[Wrong]:
        with reading(self._engine, limits.SQL_AUDIT_S).connect() as connection:
            return of_books.look(connection).wrong

    async def _deleted(self, partition: int) -> bool:
        """Whether the store has lost only the log: an opening writes log and epoch. Raises StoreError."""
        if await self._wallet.call("EXISTS", keys.log(partition)):
            return False
        return await self._wallet.call("HGET", keys.wallet_meta(partition), "epoch") is not None

    async def _would_rebuild(self, partition: int) -> Rebuilt | None:
        others = await self._logged(partition)
        try:
            return await asyncio.to_thread(rebuild, self._engine, partition, others, dry=True)
        except Broken:
            return None

    async def _waiting(self, partition: int) -> _Waiting:
        mark = (await asyncio.to_thread(self._ledger.marks))[partition]
        found: list[LogEntry] = []
        while read := await self._read(partition, after((mark.epoch, mark.n))):
            batch = await asyncio.to_thread(self._ledger.prepare, {partition: mark}, {partition: read})
            if partition in batch.misfits:
                last, entry, reason = batch.misfits[partition]
                wrong = [Wrong(partition, f"{entry.epoch}-{entry.n}", reason)]
                return _Waiting(found, wrong, _missing(last, entry))
            found += [entry for entry in read if isinstance(entry, LogEntry)]
            mark = batch.moved[partition][1]
        return _Waiting(found, [])

    async def _read(self, partition: int, start: str) -> list[LogEntry | Unreadable]:
        rows = await self._wallet.call("XRANGE", keys.log(partition), start, "+", "COUNT", limits.DRAIN_BATCH)
        return [parse(row) for row in cast(list[Any], rows)]

    async def _logged(self, partition: int) -> dict[Position, LogEntry]:
        """The readable entries that the log still has, those in the journal too. The books have no log."""
        if partition == limits.BOOKS:
            return {}
        found: dict[Position, LogEntry] = {}
        start = "-"
        while rows := await self._read(partition, start):
            found |= {(each.epoch, each.n): each for each in rows if isinstance(each, LogEntry)}
            start = after((rows[-1].epoch, rows[-1].n))
        return found

    def _forget(self, partition: int) -> None:
        with self._engine.begin() as connection:
            connection.execute(delete(quarantine).where(quarantine.c.partition == partition))

    # --- correcting --------------------------------------------------------------------------------------------
    async def take(self, source: Source) -> list[Imported]:
        """Take the entries that neither journal nor log has. Raises NotOurs, StoreError, SQLAlchemyError."""
        found = []
        marks = await asyncio.to_thread(self._ledger.marks)
        for partition, mark in marks.items():
            before = await self._first_logged(partition, mark)
            if before is not None:
                taken = await asyncio.to_thread(imports.take, self._engine, self._clock, source, partition, before)
                found += [] if taken is None else [taken]
        return found

    async def _first_logged(self, partition: int, mark: Mark) -> Position | None:
        """Where the log goes on after a gap behind the mark, or None when there is no gap."""
        rows = await self._wallet.call("XRANGE", keys.log(partition), after((mark.epoch, mark.n)), "+", "COUNT", 1)
        if not rows:
            return None
        entry = parse(cast(list[Any], rows)[0])
        return (entry.epoch, entry.n) if _missing(mark, entry) else None

    async def rebuild(self, partitions: Sequence[int], source: Source | None) -> list[Rebuilt]:
        """Correct the journal of these partitions. Raises Broken, NotOurs, StoreError, SQLAlchemyError."""
        return [await self._rebuild(partition, source) for partition in partitions]

    async def _rebuild(self, partition: int, source: Source | None) -> Rebuilt:
        others = await self._logged(partition)
        at = None
        for _ in range(limits.REPAIR_TRIES):
            try:
                return await asyncio.to_thread(rebuild, self._engine, partition, others)
            except Broken as broken:
                if source is None or broken.at == at:
                    raise
                at = broken.at
            others |= await asyncio.to_thread(source.around, partition, at)
        return await asyncio.to_thread(rebuild, self._engine, partition, others)

    async def correct(self, partition: int) -> list[str]:
        """Set a frozen partition of the store to what the journal says. Returns what was changed.

        Raises NotFrozen, StillWrong when the journal itself is wrong, StoreError, SQLAlchemyError.
        """
        waiting = await self._waiting(partition)
        if waiting.wrong:
            raise StillWrong(waiting.wrong[0])
        would = await self._would_rebuild(partition)
        if would is None or would.changed:
            raise StillWrong(Wrong(partition, "journal", "it differs from its own entries, so rebuild it first"))
        return await correct(self._engine, self._wallet, self._clock, partition, waiting.entries)

    async def empty(self, partition: int) -> int:
        """Delete all keys of a frozen partition, so that the nodes fill it again. Returns how many there were.

        Log and totals go last and together: as long as one of them is there, no node fills it.
        Raises NotFrozen, StoreError, SQLAlchemyError.
        """
        if partition not in await asyncio.to_thread(findings.frozen, self._engine):
            raise NotFrozen
        last = {keys.log(partition).encode(), keys.wallet_meta(partition).encode()}
        names = list(set(await scan.keys_of(self._wallet, partition)) - last)
        deleted = 0
        for at in range(0, len(names), limits.AUDIT_SCAN):
            deleted += cast(int, await self._wallet.call("UNLINK", *names[at : at + limits.AUDIT_SCAN]))
        log.warning("partition_emptied", partition=partition, keys=deleted)
        return deleted + cast(int, await self._wallet.call("UNLINK", *last))


def _lost(partition: int, reasons: list[str], in_store: bool, why: str) -> Frozen:
    """A partition whose log is not there to compare with."""
    wrong = [Wrong(partition, "log", why)]
    return Frozen(partition=partition, reasons=reasons, in_store=in_store, waiting=0, wrong=wrong, lost=True)


def _missing(mark: Mark, entry: LogEntry | Unreadable) -> tuple[str, str] | None:
    """The entries between the journal's last one and the log's next one, which must be the log's first."""
    if isinstance(entry, Unreadable) or mark.follows(entry) or (entry.epoch, entry.n) <= (mark.epoch, mark.n):
        return None
    return f"{mark.epoch}-{mark.n + 1}", f"{entry.epoch}-{entry.n - 1}"


SCRIPTS = (*AUDIT_SCRIPTS, *CORRECT_SCRIPTS)

__all__ = ["SCRIPTS", "Frozen", "NotFrozen", "Repair", "StillWrong"]
