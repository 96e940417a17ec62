"""Viewers' own daily limits. The newest order of a wallet overtakes pending ones."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from sqlalchemy import Engine, select

from server import limits
from server.clock import Clock
from server.entries import LIMIT, LimitEntry
from server.journal.database import ask, reading
from server.journal.posted import limit_body
from server.journal.tables import reversals
from server.money.results import Adjusted, Money, Overtaken, SpendLimit, fingerprint
from server.orders import rows
from server.orders.rows import CannotReverse, Pending


class _Kept(Struct, frozen=True):
    """What the order's row keeps."""

    coins_per_day: Annotated[int, Meta(ge=0, le=limits.TOPUP_COINS_MAX)]


class OwnLimits:
    """The limits that viewers set themselves. A limit is an order like others: recorded first, and recovered."""

    def __init__(self, engine: Engine, wallet: Money, clock: Clock) -> None:
        self._engine = engine
        self._wallet = wallet
        self._clock = clock

    async def set(self, user_id: str, order_id: str, coins_per_day: int) -> SpendLimit:
        """Set a wallet's limit per UTC day; 0 removes it. Returns the limit that applies, and the one to come.

        `order_id` is new: a limit is a state, so nobody needs to send an order of it again.
        Raises CannotReverse when a newer order was quicker, Refused, SQLAlchemyError.
        """
        ordered_ms = await ask(self._record, user_id, order_id, coins_per_day)
        try:
            done = await self._wallet.order(_entry(user_id, order_id, coins_per_day, ordered_ms))
        except Overtaken:
            raise CannotReverse(rows.NEWER) from None
        assert done.limit is not None
        return done.limit

    async def repeat(self, order: Pending) -> Adjusted:
        """Carry out an order again, unless it was overtaken. Raises CannotReverse, Refused, SQLAlchemyError."""
        kept = await ask(self._pending, order)
        if kept is None:
            raise CannotReverse(rows.NEWER)
        entry = _entry(order.user_id, order.ref, kept.coins_per_day, order.at_ms)
        return await rows.carry_out(self._engine, self._wallet, entry)

    def _record(self, user_id: str, order_id: str, coins_per_day: int) -> int:
        """Make the order's row, overtake older ones, and return its time."""
        with self._engine.begin() as connection:
            rows.lock(connection, user_id)
            rows.overtake(connection, user_id, (LIMIT.name,))
            ordered_ms = rows.ordered_ms(connection, user_id, self._clock.now_ms())
            order = Pending(LIMIT.name, order_id, user_id, ordered_ms, body=limit_body(coins_per_day))
            rows.record(connection, order)
        return ordered_ms

    def _pending(self, order: Pending) -> _Kept | None:
        """What a pending order wants. None when it is not pending any more."""
        this = rows.order_is(LIMIT, order.ref, order.user_id)
        query = select(reversals.c.body).where(this, reversals.c.state == "pending")
        with reading(self._engine).connect() as connection:
            body: str | None = connection.execute(query).scalar()
        return None if body is None else msgspec.json.decode(body, type=_Kept)


def _entry(user_id: str, order_id: str, coins_per_day: int, ordered_ms: int) -> LimitEntry:
    proof = fingerprint(LIMIT.name, user_id, coins_per_day)
    return LimitEntry(id=order_id, viewer=user_id, coins_per_day=coins_per_day, ordered_ms=ordered_ms, fp=proof)
