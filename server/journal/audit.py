"""The audit: checks that no coin was lost, doubled or made up, in the journal and between journal and store.

`verify` checks the journal by itself, `compare` the store against it, `findings` keeps the report.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from server import limits
from server.clock import Clock
from server.journal import findings
from server.journal.books import LogEntry
from server.journal.compare import SCRIPTS, StoreSide, differences, is_behind
from server.journal.database import reading
from server.journal.findings import Report, Wrong, latest
from server.journal.ordered import verify_orders
from server.journal.sums import Sums, total_of, with_waiting
from server.journal.verify import START, Head, Verified, verify, window
from server.store.client import Store
from server.store.cluster import ClusterStore


class StillMoving(Exception):
    """Money moves in a partition while the audit compares it."""


class _Journaled(NamedTuple):
    """A partition's journal, and some of its wallets with their balances, as of one transaction."""

    verified: Verified
    accounts: list[tuple[str, int]]

    @property
    def mark(self) -> str | None:
        return None if self.verified.head is None else str(self.verified.head)


class Audit:
    """Audits journal and store. Between runs it remembers how far each hash chain is verified."""

    def __init__(self, engine: Engine, wallet: Store | ClusterStore, clock: Clock) -> None:
        self._engine = engine
        self._store = StoreSide(wallet, clock)
        self._clock = clock
        self._heads: dict[int, Head] = {}
        self._last_wallet: dict[int, str] = {}  # where the next window of wallets begins
        self._behind: set[int] = set()

    async def run(self, *, freeze: bool = False) -> Report:
        """Audit all partitions. With `freeze`, the wrong ones are frozen until `python -m server repair` thaws them.

        Raises StoreError, SQLAlchemyError.
        """
        wrong: list[Wrong] = []
        sums: dict[int, Sums] = {}
        compared = moving = 0
        behind: set[int] = set()
        oldest_ms = 0
        for partition in range(limits.WALLET_PARTITIONS):
            journaled = await asyncio.to_thread(self._journal_side, partition)
            found, accounts, mark = journaled.verified, journaled.accounts, journaled.mark
            wrong += found.wrong
            sums[partition] = found.sums
            stored = await self._store.read(partition, [user_id for user_id, _ in accounts])
            if is_behind(stored[0], mark):
                behind.add(partition)
                continue
            if mark is None or stored[0] != mark:
                oldest_ms = max(oldest_ms, await self._store.waiting_ms(partition, mark, stored[0]))
                moving += stored[0] != (mark or "")
                continue
            compared += 1
            wrong += differences(partition, found.sums, accounts, stored)
        wrong += [
            Wrong(partition, "log", "the store is behind the journal, as at the last audit")
            for partition in sorted(behind & self._behind)
        ]
        self._behind = behind
        wrong += await asyncio.to_thread(self._orders)
        frozen = await asyncio.to_thread(findings.frozen, self._engine)
        total = total_of(sums.values())
        report = Report(
            ok=not wrong and not frozen and not behind,
            at_ms=self._clock.now_ms(),
            entries=total.entries,
            coins_sold=total.bought,
            coins_spent=total.spent,
            coins_refunded=total.refunded,
            coins_charged_back=total.charged_back,
            coins_held=total.held,
            diamonds_awarded=total.awarded,
            partitions_compared=compared,
            partitions_moving=moving,
            partitions_behind=len(behind),
            oldest_unverified_ms=oldest_ms,
            quarantined=sum(len(reasons) for reasons in frozen.values()),
            wrong=findings.first_of_each(wrong),
            stuck={partition: reasons[0] for partition, reasons in frozen.items()},
        )
        await asyncio.to_thread(findings.keep, self._engine, report, freeze=freeze)
        return report

    async def look(self, partition: int, waiting: Sequence[LogEntry]) -> list[Wrong]:
        """Check one partition: its journal, and all of its wallets in the store.

        `waiting` holds the log's entries that are not journaled yet: only the store has their effect.
        Raises StillMoving when the store's last entry is another one, StoreError, SQLAlchemyError.
        """
        self._heads.pop(partition, None)
        self._last_wallet.pop(partition, None)
        while True:
            journaled = await asyncio.to_thread(self._journal_side, partition)
            sums, accounts = journaled.verified.sums, journaled.accounts
            expected = with_waiting(sums, dict(accounts), waiting)
            stored = await self._store.read(partition, [user_id for user_id, _ in accounts])
            last = f"{waiting[-1].epoch}-{waiting[-1].n}" if waiting else (journaled.mark or "")
            if stored[0] != last:
                raise StillMoving(f"partition {partition}: the store's last entry is {stored[0]}, not {last}")
            found = journaled.verified.wrong + differences(partition, sums, expected, stored)
            found += [wrong for wrong in await asyncio.to_thread(self._orders) if wrong.partition == partition]
            if found or partition not in self._last_wallet:
                return found

    def _journal_side(self, partition: int) -> _Journaled:
        with reading(self._engine, limits.SQL_AUDIT_S).connect() as connection:
            found = verify(connection, partition, self._heads.get(partition, START))
            if not found.wrong and found.head is not None:
                self._heads[partition] = found.head
            return _Journaled(found, [] if found.head is None else self._next_window(connection, partition))

    def _orders(self) -> list[Wrong]:
        with reading(self._engine, limits.SQL_AUDIT_S).connect() as connection:
            return verify_orders(connection)

    def _next_window(self, connection: Connection, partition: int) -> list[tuple[str, int]]:
        """The wallets to compare in this run. Their number is bounded; all wallets have their turn."""
        accounts = window(connection, partition, self._last_wallet.get(partition, ""))
        if len(accounts) < limits.AUDIT_WALLETS:
            self._last_wallet.pop(partition, None)
        else:
            self._last_wallet[partition] = accounts[-1][0]
        return accounts


__all__ = ["SCRIPTS", "Audit", "Report", "StillMoving", "Wrong", "latest"]
