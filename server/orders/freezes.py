"""Freezes and unfreezes: they stop a wallet's gifts, and allow them again. The newest order overtakes pending ones."""

from sqlalchemy import Engine, update

from server.clock import Clock
from server.entries import CHARGEBACK, FREEZE, KIND_OF, UNFREEZE, FreezeEntry, Kind, UnfreezeEntry
from server.journal.database import ask, reading
from server.journal.posted import OF_CHARGEBACK
from server.journal.tables import reversals
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
        """Stop the wallet's gifts. Raises Refused, SQLAlchemyError."""
        return await self._order(FreezeEntry, user_id, order_id)

    async def unfreeze(self, user_id: str, order_id: str) -> Adjusted:
        """Allow gifts again. Raises NotYet while a chargeback of the wallet is pending, Refused, SQLAlchemyError."""
        return await self._order(UnfreezeEntry, user_id, order_id)

    async def freeze_for(self, chargeback_id: str, user_id: str) -> Adjusted:
        """Freeze as a step of a chargeback, which has its own pending row. Raises Refused, SQLAlchemyError."""
        return await self._carry_out(FreezeEntry, user_id, f"{OF_CHARGEBACK}{chargeback_id}")

    async def repeat(self, order: Pending) -> Adjusted:
        """Carry out an order again, unless it was overtaken. Raises CannotReverse, Refused, SQLAlchemyError."""
        if not await ask(self._is_pending, order):
            raise CannotReverse("a newer order has overtaken it")
        return await self._carry_out(
            FreezeEntry if order.kind == FREEZE.name else UnfreezeEntry, order.user_id, order.ref
        )

    async def _order(self, body: Body, user_id: str, order_id: str) -> Adjusted:
        if not await ask(self._record, KIND_OF[body], user_id, order_id):
            raise NotYet
        return await self._carry_out(body, user_id, order_id)

    async def _carry_out(self, body: Body, user_id: str, order_id: str) -> Adjusted:
        entry = body(id=order_id, viewer=user_id, fp=fingerprint(KIND_OF[body].name, user_id))
        return await rows.carry_out(self._engine, self._wallet, entry)

    def _record(self, kind: Kind, user_id: str, order_id: str) -> bool:
        """Make the order's row pending, unless it is posted. False for an unfreeze while a chargeback is pending."""
        order = Pending(kind.name, order_id, user_id, self._clock.now_ms())
        with self._engine.begin() as connection:
            rows.lock(connection, user_id)
            if rows.state_of(connection, kind, order_id, user_id) == "posted":
                return True
            if kind is UNFREEZE and connection.execute(rows.pending_of(CHARGEBACK, user_id)).first() is not None:
                return False
            rows.overtake(connection, user_id)
            rows.record(connection, order)
            # An overtaken order that is sent again has a row already.
            again = update(reversals).where(rows.order_is(kind, order_id, user_id), reversals.c.state != "posted")
            connection.execute(again.values(state="pending", at_ms=order.at_ms))
        return True

    def _is_pending(self, order: Pending) -> bool:
        kind = FREEZE if order.kind == FREEZE.name else UNFREEZE
        with reading(self._engine).connect() as connection:
            return rows.state_of(connection, kind, order.ref, order.user_id) == "pending"
