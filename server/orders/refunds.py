"""Refunds: a gift's coins go back to its viewer, its diamonds from the creator, once for ever."""

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
    """Orders of the host platform against gifts."""

    def __init__(self, engine: Engine, wallet: Money, clock: Clock) -> None:
        self._engine = engine
        self._wallet = wallet
        self._clock = clock

    async def refund(self, gift_id: str, reason: str, user_id: str | None = None) -> Reversed:
        """Give a gift's coins back and take its diamonds. `user_id` says whose, where two viewers used one id.

        Raises NotFound, NotYet, CannotReverse, Refused, SQLAlchemyError.
        """
        gift = await ask(rows.gift_of, self._engine, gift_id, user_id)
        if not await ask(self._write_down, gift, reason):
            raise NotYet
        return await self._refund(gift)

    async def repeat(self, order: Pending) -> Reversed:
        """Raises what `refund` raises."""
        return await self.refund(order.ref, order.reason, order.user_id)

    async def finish(self, gift_id: str, user_id: str) -> Reversed:
        """Carry out what is written down. Raises NotFound, CannotReverse, Refused, SQLAlchemyError."""
        return await self._refund(await ask(rows.gift_of, self._engine, gift_id, user_id))

    async def _refund(self, gift: PaidGift) -> Reversed:
        # Before the look at the journal: a refund that the lots know is found there.
        lots = await ask(self._lots, gift.user_id, within_s=limits.SQL_FOLD_S)
        before = await rows.journaled(self._engine, REFUND, gift.user_id, gift.ref)
        if before is None and lots.paid_by(gift.ref) != gift.coins:
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
        done = before or await rows.carry_out(self._engine, self._wallet, entry)
        return rows.told(entry, done, gift.coins, [part])

    def _write_down(self, gift: PaidGift, reason: str) -> bool:
        """Write the order unless a chargeback of this wallet is decided and not journaled yet."""
        with self._engine.begin() as connection:
            rows.lock(connection, gift.user_id)
            if rows.state_of(connection, REFUND, gift.ref, gift.user_id) is not None:
                return True
            decided = rows.pending_of(CHARGEBACK, gift.user_id).where(reversals.c.body.is_not(None))
            if connection.execute(decided).first() is not None:
                return False
            rows.write_down(connection, Pending(REFUND.name, gift.ref, gift.user_id, self._clock.now_ms(), reason))
        return True

    def _refuse(self, gift: PaidGift) -> None:
        where = (rows.at(REFUND, gift.ref, gift.user_id), reversals.c.state == "pending")
        with self._engine.begin() as connection:
            connection.execute(update(reversals).where(*where).values(state="refused"))

    def _lots(self, user_id: str) -> Lots:
        with reading(self._engine).connect() as connection:
            return rows.lots_of(connection, user_id)
