"""Repairs frozen partitions: shows why each is frozen, checks whether anything is still wrong, and thaws it.

A partition is frozen twice: by its rows in `quarantine`, and by a flag in the wallet store that the journal sets from
them. A thaw checks first: what is still wrong stays frozen.
"""

import asyncio
from typing import Any, cast

import structlog
from msgspec import Struct
from sqlalchemy import Engine, delete

from server import limits
from server.clock import Clock
from server.journal import findings
from server.journal.audit import Audit, StillMoving, Wrong
from server.journal.books import LogEntry, parse
from server.journal.ledger import Ledger
from server.journal.log import after
from server.journal.tables import quarantine
from server.store import keys
from server.store.client import Store
from server.store.cluster import ClusterStore

log = structlog.get_logger()


class Frozen(Struct, frozen=True, kw_only=True):
    """A frozen partition. `wrong` is what an audit finds now; `waiting` counts entries that are not journaled."""

    partition: int
    reasons: list[str]
    in_store: bool
    waiting: int
    wrong: list[Wrong]

    @property
    def advice(self) -> str:
        """What the operator should do."""
        if self.wrong:
            return "correct what is wrong, then look again; until then it cannot be thawed"
        return f"nothing is wrong now: python -m server repair --thaw {self.partition}"


class StillWrong(Exception):
    """A partition that is still wrong is not thawed. `wrong` is the first finding."""

    def __init__(self, wrong: Wrong) -> None:
        super().__init__(f"{wrong.where}: {wrong.what}")
        self.wrong = wrong


class NotFrozen(Exception):
    """The partition is not frozen."""


class Repair:
    """Checks frozen partitions, and thaws them one by one."""

    def __init__(self, engine: Engine, wallet: Store | ClusterStore, clock: Clock) -> None:
        self._engine = engine
        self._wallet = wallet
        self._ledger = Ledger(engine, clock)
        self._audit = Audit(engine, wallet, clock)

    async def frozen(self) -> list[Frozen]:
        """Check every frozen partition. Raises StoreError, SQLAlchemyError."""
        reasons = await asyncio.to_thread(findings.frozen, self._engine)
        partitions = range(limits.WALLET_PARTITIONS)
        flags = await asyncio.gather(*(self._wallet.call("HGET", keys.wallet_meta(p), "frozen") for p in partitions))
        in_store = {p for p, flag in zip(partitions, flags, strict=True) if flag}
        return [await self._look(p, reasons.get(p, []), p in in_store) for p in sorted(in_store | reasons.keys())]

    async def thaw(self, partition: int) -> Frozen:
        """Thaw a partition if nothing is wrong. Raises NotFrozen, StillWrong, StoreError, SQLAlchemyError."""
        found = next((each for each in await self.frozen() if each.partition == partition), None)
        if found is None:
            raise NotFrozen
        if found.wrong:
            raise StillWrong(found.wrong[0])
        await asyncio.to_thread(self._forget, partition)  # first, or the journal freezes the store again by these rows
        await self._wallet.call("HDEL", keys.wallet_meta(partition), "frozen")
        log.warning("partition_thawed", partition=partition, reasons=found.reasons)
        return found

    async def _look(self, partition: int, reasons: list[str], in_store: bool) -> Frozen:
        waiting, wrong = await self._waiting(partition)
        if not wrong:
            try:
                wrong = await self._audit.look(partition, waiting)
            except StillMoving as moving:
                wrong = [Wrong(partition, "log", f"{moving}; look again")]
        return Frozen(partition=partition, reasons=reasons, in_store=in_store, waiting=len(waiting), wrong=wrong)

    async def _waiting(self, partition: int) -> tuple[list[LogEntry], list[Wrong]]:
        """The entries behind the watermark, up to the first misfit, and that misfit as a finding."""
        mark = (await asyncio.to_thread(self._ledger.marks))[partition]
        found: list[LogEntry] = []
        while True:
            start = after((mark.epoch, mark.n))
            rows = await self._wallet.call("XRANGE", keys.log(partition), start, "+", "COUNT", limits.DRAIN_BATCH)
            if not rows:
                return found, []
            read = [parse(row) for row in cast(list[Any], rows)]
            batch = await asyncio.to_thread(self._ledger.prepare, {partition: mark}, {partition: read})
            if partition in batch.misfits:
                _, entry, reason = batch.misfits[partition]
                return found, [Wrong(partition, f"{entry.epoch}-{entry.n}", reason)]
            found += [entry for entry in read if isinstance(entry, LogEntry)]
            mark = batch.moved[partition][1]

    def _forget(self, partition: int) -> None:
        with self._engine.begin() as connection:
            connection.execute(delete(quarantine).where(quarantine.c.partition == partition))
