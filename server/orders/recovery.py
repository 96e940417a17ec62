"""Orders that were written down and never reached the wallet: sent again by their ids, without anybody asking.

A node may die between the order's row and the wallet, and a store may lose what it had taken. Every order is carried
out once whoever repeats it, so all nodes look, and two at once do no harm.
"""

import asyncio
import contextlib
from typing import Any

import structlog
from sqlalchemy import Engine, select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from protocol.ids import UserId
from protocol.refusals import Refused
from server import background, limits
from server.clock import Clock
from server.entries import CHARGEBACK, REFUND, TOPUP
from server.journal.database import ask, reading
from server.journal.tables import reversals, topups
from server.money.results import Money, TopUpConflict
from server.orders.reversals import CannotReverse, NotFound, NotYet, Reversals
from server.orders.topups import Purchases, TopUp

log = structlog.get_logger()

KINDS = (
    TOPUP.name,
    REFUND.name,
    CHARGEBACK.name,
)  # freezes have no row: nobody was told that one is ordered before it is done


class Recovery:
    """Looks for pending orders now and then. `recovered` counts those that this node carried out."""

    def __init__(self, engine: Engine, wallet: Money, purchases: Purchases, reversals: Reversals, clock: Clock) -> None:
        self._engine = engine
        self._wallet = wallet
        self._purchases = purchases
        self._reversals = reversals
        self._clock = clock
        self._after: dict[str, tuple[int, str]] = {}  # where the next round goes on: none starves behind a stuck one
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self.recovered = 0

    async def start(self) -> None:
        self._task = background.forever("recovery", self._watch)

    async def stop(self) -> None:
        """End what is under way: its thread would outlive a cancelled task, and the database's connections with it."""
        if self._task is not None:
            self._stopping.set()
            await asyncio.wait({self._task}, timeout=limits.RECOVER_STOP_S)
            await background.end(self._task)

    async def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.once()
            except SQLAlchemyError as error:
                log.debug("recovery_later", error=str(error)[: limits.LOGGED_CHARS_MAX])
            except Exception as error:
                background.failed("recovery", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.RECOVER_EVERY_S):
                    await self._stopping.wait()

    async def once(self) -> None:
        """Some pending orders of each kind. Raises SQLAlchemyError."""
        for kind in KINDS:
            if not self._wallet.usable:
                return
            for row in await ask(self._pending, kind):
                if self._stopping.is_set() or not await self._repeat(kind, row):
                    break

    async def _repeat(self, kind: str, row: Any) -> bool:
        """Carry an order out; whether to go on with the next of its kind."""
        try:
            done = await self._order(kind, row)
        except NotYet:
            return False  # it has waited for the journal, and so would the next
        except (NotFound, CannotReverse, TopUpConflict, Refused) as no:
            log.info("order_not_recovered", kind=kind, ref=row.ref, why=type(no).__name__)
            return True
        if not done.duplicate:
            self.recovered += 1
            log.warning("order_recovered", kind=kind, ref=row.ref, user=row.user_id)
        return True

    async def _order(self, kind: str, row: Any) -> Any:
        if kind == TOPUP.name:
            return await self._purchases.top_up(UserId(row.user_id), TopUp(row.ref, row.coins, row.source))
        if kind == REFUND.name:
            return await self._reversals.refund(row.ref, row.reason, row.user_id)
        return await self._reversals.charge_back(row.ref, row.reason)

    def _pending(self, kind: str) -> list[Any]:
        """The next of those that nobody is at any more, and that the store would still know had it done them."""
        table, ref = (topups, topups.c.id) if kind == TOPUP.name else (reversals, reversals.c.ref)
        columns = select(topups, ref.label("ref")) if kind == TOPUP.name else select(reversals)
        now_ms = self._clock.now_ms()
        query = (
            columns.where(table.c.state == "pending", table.c.at_ms <= now_ms - limits.RECOVER_AFTER_MS)
            .where(table.c.at_ms > now_ms - limits.RECOVER_UNTIL_MS)
            .order_by(table.c.at_ms, ref)
            .limit(limits.RECOVER_BATCH)
        )
        if kind != TOPUP.name:
            query = query.where(reversals.c.kind == kind)
        if kind in self._after:
            query = query.where(tuple_(table.c.at_ms, ref) > self._after[kind])
        with reading(self._engine).connect() as connection:
            rows = list(connection.execute(query))
        if len(rows) == limits.RECOVER_BATCH:
            self._after[kind] = (rows[-1].at_ms, rows[-1].ref)
        else:
            self._after.pop(kind, None)
        return rows
