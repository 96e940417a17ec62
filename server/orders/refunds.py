"""Refunds: a gift's viewer gets the coins back, and its creator loses the diamonds, exactly once."""

from sqlalchemy import Engine, update

from server import limits
from server.clock import Clock
from server.entries import CHARGEBACK, REFUND, RefundEntry
from server.journal.database import ask, reading
from server.journal.lots import Lots, Part
from server.journal.tables import reversals
from server.money.results import Money, fingerprint
from server.orders import rows
from server.orders.rows import CannotReverse, NotYet, PaidGift, Pending, Reversed


class Refunds:
    """Refunds that the host platform orders."""

    def __init__(self, engine: Engine, wallet: Money, clock: Clock) -> None:
        self._engine = engine
        self._wallet = wallet
        self._clock = clock

    async def refund(self, gift_id: str, reason: str, user_id: str | None = None) -> Reversed:
        """Give a gift's coins back and take its diamonds. `user_id` says whose gift, in case two viewers used one id.

        Raises NotFound, NotYet, CannotReverse, Refused, SQLAlchemyError.
        """
        gift = await ask(rows.gift_of, self._engine, gift_id, user_id)
        if not await ask(self._record, gift, reason):
            raise NotYet
        return await self._refund(gift)

    async def repeat(self, order: Pending) -> Reversed:
        """Carry out a pending order again. Raises what `refund` raises."""
        return await self.refund(order.ref, order.reason, order.user_id)

    async def finish(self, gift_id: str, user_id: str) -> Reversed:
        """Carry out a recorded refund. Raises NotFound, CannotReverse, Refused, SQLAlchemyError."""
        return await self._refund(await ask(rows.gift_of, self._engine, gift_id, user_id))

    async def _refund(self, gift: PaidGift) -> Reversed:
        # Read the lots before the journal: a refund that the lots already include is then found in the journal.
        lots = await ask(self._lots, gift.user_id, within_s=limits.SQL_FOLD_S)
        done = await rows.journaled(self._engine, REFUND, gift.user_id, gift.ref)
        if done is None and lots.paid_by(gift.ref) != gift.coins:
            await ask(self._refuse, gift)
            raise CannotReverse("a chargeback has taken this gift back")
        part = Part(gift.ref, gift.creator_id, gift.room_id, gift.coins, gift.diamonds)
        entry = RefundEntry(
            id=gift.ref,
            viewer=gift.user_id,
            fp=fingerprint(REFUND.name, gift.ref),
            coins=gift.coins,
            diamonds=gift.diamonds,
            creator=gift.creator_id,
            room=gift.room_id,
        )
        done = done or await rows.carry_out(self._engine, self._wallet, entry)
        return rows.outcome_of(entry, done, gift.coins, [part])

    def _record(self, gift: PaidGift, reason: str) -> bool:
        """Record the order, unless a chargeback of this wallet is decided and not journaled yet."""
        with self._engine.begin() as connection:
            rows.lock(connection, gift.user_id)
            if rows.state_of(connection, REFUND, gift.ref, gift.user_id) is not None:
                return True
            decided = rows.pending_of(CHARGEBACK, gift.user_id).where(reversals.c.body.is_not(None))
            if connection.execute(decided).first() is not None:
                return False
            rows.record(connection, Pending(REFUND.name, gift.ref, gift.user_id, self._clock.now_ms(), reason))
        return True

    def _refuse(self, gift: PaidGift) -> None:
        where = (rows.order_is(REFUND, gift.ref, gift.user_id), reversals.c.state == "pending")
        with self._engine.begin() as connection:
            connection.execute(update(reversals).where(*where).values(state="refused"))

    def _lots(self, user_id: str) -> Lots:
        with reading(self._engine).connect() as connection:
            return rows.lots_of(connection, user_id)
