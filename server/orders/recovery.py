"""Repeats orders that were recorded but never reached the wallet.

A node can die between the order's row and the wallet, and a store can lose what it had. An order is carried out once
however often it is repeated, so all nodes look for pending orders, and two at once do no harm.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Engine, Table, literal, select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from protocol.refusals import Refused
from server import background, limits
from server.clock import Clock
from server.entries import KINDS, REFUND, TOPUP, Kind
from server.journal.database import ask, reading
from server.journal.tables import reversals, topups
from server.money.results import Adjusted, Money, TopUpConflict
from server.orders.rows import CannotReverse, NotFound, NotYet, Pending, Reversed
from server.store import keys

log = structlog.get_logger()

Repeat = Callable[[Pending], Awaitable[Adjusted | Reversed]]


class Recovery:
    """Repeats pending orders from time to time. `recovered` counts those that this node carried out.

    `repeats` has a function for each kind of order.
    """

    def __init__(self, engine: Engine, wallet: Money, clock: Clock, repeats: Mapping[Kind, Repeat]) -> None:
        assert [kind for kind in KINDS.values() if kind.order and kind not in repeats] == []
        self._engine = engine
        self._wallet = wallet
        self._clock = clock
        self._repeats = repeats
        self._after: dict[str, tuple[int, str]] = {}  # where a kind's next round starts: no order starves
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self.recovered = 0

    async def start(self) -> None:
        self._task = background.forever("recovery", self._watch)

    async def stop(self) -> None:
        """Wait for the present order: its thread would outlive a cancelled task and keep a database connection."""
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
        """Repeat some pending orders of each kind. Raises SQLAlchemyError."""
        for kind, repeat in self._repeats.items():
            if not self._wallet.usable:
                return
            for order in await ask(self._pending, kind):
                if self._must_wait(order):
                    continue
                if self._stopping.is_set() or not await self._repeat(repeat, order):
                    break

    def _must_wait(self, order: Pending) -> bool:
        """Whether its partition takes no money now. It would wait long for it, and all others behind it."""
        ids = (order.user_id, order.ref) if order.kind == TOPUP.name else (order.user_id,)  # a top-up claims its id
        return any(keys.partition_of(id) in self._wallet.refusing for id in ids)

    async def _repeat(self, repeat: Repeat, order: Pending) -> bool:
        """Carry out an order. False when the others of its kind must wait for the next round."""
        try:
            done = await repeat(order)
        except NotYet:
            return False  # it has waited for the journal in vain, and so would the next
        except (NotFound, CannotReverse, TopUpConflict, Refused) as no:
            log.info("order_not_recovered", kind=order.kind, ref=order.ref, why=type(no).__name__)
            return True
        if not done.duplicate:
            self.recovered += 1
            log.warning("order_recovered", kind=order.kind, ref=order.ref, user=order.user_id)
        return True

    def _pending(self, kind: Kind) -> list[Pending]:
        """The next pending orders: old enough to be abandoned, and so young that the store keeps their receipts."""
        table, columns = _ORDERS[kind.order]
        ref, now_ms = columns[1], self._clock.now_ms()
        query = (
            select(*columns)
            .where(table.c.state == "pending", table.c.at_ms <= now_ms - limits.RECOVER_AFTER_MS)
            .where(table.c.at_ms > now_ms - limits.RECOVER_UNTIL_MS)
            .order_by(table.c.at_ms, ref)
            .limit(limits.RECOVER_BATCH)
        )
        if table is reversals:
            query = query.where(reversals.c.kind == kind.name)
        if kind.name in self._after:
            query = query.where(tuple_(table.c.at_ms, ref) > self._after[kind.name])
        with reading(self._engine).connect() as connection:
            found = [Pending(*row) for row in connection.execute(query)]
        if len(found) == limits.RECOVER_BATCH:
            self._after[kind.name] = (found[-1].at_ms, found[-1].ref)
        else:
            self._after.pop(kind.name, None)
        return found


# The tables of orders, and their columns in the order of `Pending`'s fields.
_TOPUP = (
    literal(TOPUP.name),
    topups.c.id,
    topups.c.user_id,
    topups.c.at_ms,
    literal(""),
    topups.c.coins,
    topups.c.source,
    topups.c.sale,
)
_REVERSAL = reversals.c.kind, reversals.c.ref, reversals.c.user_id, reversals.c.at_ms, reversals.c.reason
_ORDERS: dict[str, tuple[Table, tuple[ColumnElement[Any], ...]]] = {
    TOPUP.order: (topups, _TOPUP),
    REFUND.order: (reversals, _REVERSAL),
}
