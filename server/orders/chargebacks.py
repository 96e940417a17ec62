"""Chargebacks: the bank has taken back a payment.

A chargeback freezes the wallet, waits until the journal has all that the wallet spent, and takes back exactly what the
bad top-up paid for. The coins that are left come from the wallet, the rest from the creators who got its gifts.
"""

import contextlib

from msgspec import Struct
from sqlalchemy import Engine

from server import limits
from server.clock import Clock
from server.entries import CHARGEBACK, REFUND, ChargebackEntry
from server.journal.database import ask, reading
from server.journal.parts import shares_of
from server.journal.posted import bought
from server.money.results import Money, fingerprint
from server.orders import decisions, rows
from server.orders.caught_up import wait_until_journaled
from server.orders.decisions import Decision
from server.orders.freezes import Freezes
from server.orders.refunds import Refunds
from server.orders.rows import CannotReverse, NotFound, NotYet, Pending, Reversed


class Bought(Struct, frozen=True):
    """A journaled top-up."""

    id: str
    user_id: str


class _Known(Struct, frozen=True):
    """What SQL has of a chargeback: its top-up, when it was ordered, and what was decided."""

    topup: Bought
    ordered_ms: int | None
    decision: Decision | None


class Chargebacks:
    """Chargebacks that the host platform orders."""

    def __init__(self, engine: Engine, wallet: Money, clock: Clock, refunds: Refunds, freezes: Freezes) -> None:
        self._engine = engine
        self._wallet = wallet
        self._clock = clock
        self._refunds = refunds
        self._freezes = freezes

    async def charge_back(self, topup_id: str, reason: str) -> Reversed:
        """Take a top-up back. Raises NotFound, NotYet, Refused, SQLAlchemyError."""
        known = await ask(self._look, topup_id)
        topup, decision = known.topup, known.decision
        ordered_ms = await ask(self._record, topup, reason) if known.ordered_ms is None else known.ordered_ms
        for _ in range(limits.DECIDE_TRIES):
            if decision is not None:
                break
            await self._freezes.freeze_for(self._clock.new_id(), topup.user_id, ordered_ms)
            await wait_until_journaled(self._engine, self._wallet, topup.user_id)
            decision = await self._decide(topup)
            if decision is None:  # a refund is under way: the two never overlap
                await self._carry_out_refunds(topup.user_id)
        if decision is None:
            raise NotYet
        entry = ChargebackEntry(
            id=topup_id,
            viewer=topup.user_id,
            fp=fingerprint(CHARGEBACK.name, topup_id),
            ordered_ms=ordered_ms,
            coins=decision.coins,
            diamonds=decision.diamonds,
            reversed=shares_of(decision.reversed),
            decided=decision.decided,
        )
        if known.decision is None:
            done = await rows.send(self._wallet, entry)
        else:
            done = await rows.carry_out(self._engine, self._wallet, entry)
        return rows.outcome_of(entry, done, -entry.coins, decision.reversed)

    async def repeat(self, order: Pending) -> Reversed:
        """Carry out a pending order again. Raises what `charge_back` raises."""
        return await self.charge_back(order.ref, order.reason)

    async def _decide(self, topup: Bought) -> Decision | None:
        """Decide once what to take from whom. The journal has all entries of the frozen wallet.

        None while a refund of this wallet is pending.
        """
        plan, decide = decisions.plan_chargeback, decisions.decide_chargeback
        planned = await ask(plan, self._engine, topup.id, topup.user_id, within_s=limits.SQL_FOLD_S)
        return await ask(decide, self._engine, topup.id, topup.user_id, planned)

    async def _carry_out_refunds(self, user_id: str) -> None:
        for gift_id in await ask(self._pending_refunds, user_id):
            with contextlib.suppress(CannotReverse):
                await self._refunds.refund(gift_id, "", user_id)

    # --- SQL -------------------------------------------------------------------------------------------------
    def _look(self, topup_id: str) -> _Known:
        """Find the top-up, and what is known of its chargeback. Raises NotFound."""
        with reading(self._engine).connect() as connection:
            found = bought(connection, topup_id)
            if found is None or found.state != "posted":
                raise NotFound
            topup = Bought(topup_id, found.user_id)
            ordered_ms = rows.at_of(connection, CHARGEBACK, topup_id, found.user_id)
            decision = None
            if ordered_ms is not None:
                decision = decisions.decided(connection, CHARGEBACK, topup_id, found.user_id)
            return _Known(topup, ordered_ms, decision)

    def _record(self, topup: Bought, reason: str) -> int:
        """Record the order, once, and return when that was."""
        with self._engine.begin() as connection:
            rows.lock(connection, topup.user_id)
            rows.overtake(connection, topup.user_id)
            ordered_ms = rows.ordered_ms(connection, topup.user_id, self._clock.now_ms())
            order = Pending(CHARGEBACK.name, topup.id, topup.user_id, ordered_ms, reason)
            if rows.record(connection, order):
                return ordered_ms
            return rows.at_of(connection, CHARGEBACK, topup.id, topup.user_id) or ordered_ms

    def _pending_refunds(self, user_id: str) -> list[str]:
        with reading(self._engine).connect() as connection:
            return list(connection.execute(rows.pending_of(REFUND, user_id)).scalars())
