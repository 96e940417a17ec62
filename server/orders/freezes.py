"""Freezes and unfreezes: they stop a wallet's gifts, and allow them again. The newest order overtakes pending ones."""

import contextlib

from sqlalchemy import Engine

from server.clock import Clock
from server.entries import CHARGEBACK, FREEZE, KIND_OF, UNFREEZE, FreezeEntry, Kind, UnfreezeEntry
from server.journal.database import ask, reading
from server.journal.posted import OF_CHARGEBACK
from server.money.results import Adjusted, Money, fingerprint
from server.orders import rows
from server.orders.rows import CannotReverse, NotYet, Pending

Body = type[FreezeEntry | UnfreezeEntry]


class Freezes:
    """Freezes and unfreezes that the host platform orders."""

    def __init__(self, engine: Engine, wallet: Money, clock: Clock) -> None:
        self._engine = engine
        self._wallet = wallet
        self._clock = clock

    async def freeze(self, user_id: str, order_id: str) -> Adjusted:
        """Stop the wallet's gifts. Raises CannotReverse when a newer order was quicker, Refused, SQLAlchemyError."""
        return await self._order(FreezeEntry, user_id, order_id)

    async def unfreeze(self, user_id: str, order_id: str) -> Adjusted:
        """Allow gifts again. Raises NotYet while a chargeback of the wallet is pending, and what `freeze` raises."""
        return await self._order(UnfreezeEntry, user_id, order_id)

    async def freeze_for(self, chargeback_id: str, user_id: str, ordered_ms: int) -> None:
        """Freeze as a step of a chargeback, which has its own pending row. Raises Refused, SQLAlchemyError.

        A newer order can only be a freeze: a pending chargeback lets nobody unfreeze the wallet.
        """
        with contextlib.suppress(CannotReverse):
            await rows.send(self._wallet, _entry(FreezeEntry, user_id, f"{OF_CHARGEBACK}{chargeback_id}", ordered_ms))

    async def repeat(self, order: Pending) -> Adjusted:
        """Carry out an order again, unless it was overtaken. Raises CannotReverse, Refused, SQLAlchemyError."""
        if not await ask(self._is_pending, order):
            raise CannotReverse(rows.NEWER)
        body = FreezeEntry if order.kind == FREEZE.name else UnfreezeEntry
        return await self._carry_out(body, order.user_id, order.ref, order.at_ms)

    async def _order(self, body: Body, user_id: str, order_id: str) -> Adjusted:
        ordered_ms = await ask(self._record, KIND_OF[body], user_id, order_id)
        if ordered_ms is None:
            raise NotYet
        return await self._carry_out(body, user_id, order_id, ordered_ms)

    async def _carry_out(self, body: Body, user_id: str, order_id: str, ordered_ms: int) -> Adjusted:
        return await rows.carry_out(self._engine, self._wallet, _entry(body, user_id, order_id, ordered_ms))

    def _record(self, kind: Kind, user_id: str, order_id: str) -> int | None:
        """Make the order's row pending, unless it is posted, and return its time.

        None for an unfreeze while a chargeback is pending.
        """
        with self._engine.begin() as connection:
            rows.lock(connection, user_id)
            if rows.state_of(connection, kind, order_id, user_id) == "posted":
                return rows.at_of(connection, kind, order_id, user_id)
            if kind is UNFREEZE and connection.execute(rows.pending_of(CHARGEBACK, user_id)).first() is not None:
                return None
            rows.overtake(connection, user_id)
            order = Pending(kind.name, order_id, user_id, rows.ordered_ms(connection, user_id, self._clock.now_ms()))
            rows.renew(connection, order)
        return order.at_ms

    def _is_pending(self, order: Pending) -> bool:
        kind = FREEZE if order.kind == FREEZE.name else UNFREEZE
        with reading(self._engine).connect() as connection:
            return rows.state_of(connection, kind, order.ref, order.user_id) == "pending"


def _entry(body: Body, user_id: str, order_id: str, ordered_ms: int) -> FreezeEntry | UnfreezeEntry:
    return body(id=order_id, viewer=user_id, fp=fingerprint(KIND_OF[body].name, user_id), ordered_ms=ordered_ms)
