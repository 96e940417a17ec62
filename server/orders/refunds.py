"""Refunds: a gift's viewer gets the coins back, and its creator loses the diamonds, exactly once."""

from sqlalchemy import Engine

from server.clock import Clock
from server.entries import REFUND, RefundEntry
from server.journal.database import ask, reading
from server.journal.parts import Gift, SoFar, part_of
from server.money.results import Adjusted, Money, fingerprint
from server.orders import decisions, rows
from server.orders.caught_up import wait_until_journaled
from server.orders.decisions import Decision
from server.orders.rows import CannotReverse, Pending, Reversed


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
        gift, done = await ask(self._look, gift_id, user_id)
        if done is None:
            if (await self._wallet.view(gift.user_id)).status != "ok":  # a chargeback may have taken this gift back
                await wait_until_journaled(self._engine, self._wallet, gift.user_id)
            decision = await ask(decisions.decide_refund, self._engine, gift, self._clock.now_ms(), reason)
            if decision is None:
                raise CannotReverse("a chargeback has taken this gift back")
        else:  # a refund takes a whole gift
            decision = Decision(gift.coins, [part_of(gift, gift.coins, SoFar())])
        entry = RefundEntry(
            id=gift.ref,
            viewer=gift.user_id,
            fp=fingerprint(REFUND.name, gift.ref),
            coins=decision.coins,
            diamonds=decision.diamonds,
            creator=gift.creator_id,
            room=gift.room_id,
            decided=decision.decided,
        )
        done = done or await rows.send(self._wallet, entry)
        return rows.outcome_of(entry, done, decision.coins, decision.reversed)

    async def repeat(self, order: Pending) -> Reversed:
        """Carry out a pending order again. Raises what `refund` raises."""
        return await self.refund(order.ref, order.reason, order.user_id)

    def _look(self, gift_id: str, user_id: str | None) -> tuple[Gift, Adjusted | None]:
        """The gift, and the outcome of its refund if that is journaled."""
        with reading(self._engine).connect() as connection:
            gift = rows.gift_of(connection, gift_id, user_id)
            return gift, rows.journaled_in(connection, REFUND, gift.user_id, gift.ref)
