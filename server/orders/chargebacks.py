"""Chargebacks: a payment was taken back.

A chargeback freezes the wallet, waits until the journal knows all that it spent, and takes back exactly what the bad
top-up paid for: what is left of it from the wallet, the rest from the creators who got its gifts.
"""

import asyncio
import contextlib

import msgspec
from msgspec import Struct
from sqlalchemy import Engine, select, update

from server import limits
from server.clock import Clock
from server.entries import CHARGEBACK, REFUND, ChargebackEntry
from server.journal.database import ask, reading
from server.journal.lots import Part, shares_of
from server.journal.tables import reversals, topups, watermarks
from server.money.results import Money, fingerprint
from server.orders import rows
from server.orders.freezes import Freezes
from server.orders.refunds import Refunds
from server.orders.rows import CannotReverse, NotFound, NotYet, Pending, Reversed
from server.store import keys


class Decision(Struct, frozen=True):
    """What a chargeback takes, gift by gift: kept in SQL. The ledger's entry must stay short: a sum per creator."""

    coins: int
    reversed: list[Part]

    @property
    def diamonds(self) -> int:
        return sum(part.diamonds for part in self.reversed)


class Bought(Struct, frozen=True):
    """A top-up that is journaled."""

    id: str
    user_id: str


class Chargebacks:
    """Orders of the host platform against top-ups."""

    def __init__(self, engine: Engine, wallet: Money, clock: Clock, refunds: Refunds, freezes: Freezes) -> None:
        self._engine = engine
        self._wallet = wallet
        self._clock = clock
        self._refunds = refunds
        self._freezes = freezes

    async def charge_back(self, topup_id: str, reason: str) -> Reversed:
        """Take a top-up back. Raises NotFound, NotYet, Refused, SQLAlchemyError."""
        topup = await ask(self._topup, topup_id)
        await ask(self._write_down, topup, reason)
        body = await ask(self._body, topup)
        for _ in range(limits.DECIDE_TRIES):
            if body is not None:
                break
            await self._freezes.freeze_for(self._clock.new_id(), topup.user_id)
            for gift_id in await ask(self._pending_refunds, topup.user_id):
                with contextlib.suppress(CannotReverse):
                    await self._refunds.finish(gift_id, topup.user_id)
            body = await self._decide(topup)
        if body is None:
            raise NotYet
        decision = msgspec.json.decode(body, type=Decision)
        entry = ChargebackEntry(
            id=topup_id,
            viewer=topup.user_id,
            fp=fingerprint(CHARGEBACK.name, topup_id),
            coins=decision.coins,
            diamonds=decision.diamonds,
            reversed=shares_of(decision.reversed),
        )
        done = await rows.carry_out(self._engine, self._wallet, entry)
        return rows.told(entry, done, -entry.coins, decision.reversed)

    async def repeat(self, order: Pending) -> Reversed:
        """Raises what `charge_back` raises."""
        return await self.charge_back(order.ref, order.reason)

    async def _decide(self, topup: Bought) -> str | None:
        """What the chargeback takes from whom: decided once, when the journal knows all of the frozen wallet.

        None while a refund of this wallet is under way: of the two one is always finished before the other begins.
        """
        await self._until_journaled(topup.user_id)
        return await ask(self._decide_now, topup, within_s=limits.SQL_FOLD_S)

    def _decide_now(self, topup: Bought) -> str | None:
        where = rows.at(CHARGEBACK, topup.id, topup.user_id)
        with self._engine.begin() as connection:
            rows.lock(connection, topup.user_id)
            body: str | None = connection.execute(select(reversals.c.body).where(where)).scalar_one()
            if body is not None:
                return body
            if connection.execute(rows.pending_of(REFUND, topup.user_id)).first() is not None:
                return None
            lots = rows.lots_of(connection, topup.user_id)
            taken = Decision(coins=lots.lots[topup.id].left, reversed=lots.parts_of(topup.id))
            decision = msgspec.json.encode(taken).decode()
            connection.execute(update(reversals).where(where).values(body=decision))
        return decision

    async def _until_journaled(self, user_id: str) -> None:
        """Until the drain has passed everything that this wallet did before it was frozen. Raises NotYet."""
        partition = keys.partition_of(user_id)
        last = await self._wallet.last_entry(partition)
        for _ in range(limits.JOURNALED_POLLS):
            if await ask(self._mark, partition) >= last:
                return
            await asyncio.sleep(limits.DRAIN_IDLE_S)
        raise NotYet

    # --- SQL -------------------------------------------------------------------------------------------------
    def _write_down(self, topup: Bought, reason: str) -> None:
        with reading(self._engine).connect() as connection:
            if rows.state_of(connection, CHARGEBACK, topup.id, topup.user_id) is not None:
                return
        now_ms = self._clock.now_ms()
        with self._engine.begin() as connection:
            rows.lock(connection, topup.user_id)
            rows.overtake(connection, topup.user_id)
            rows.write_down(connection, Pending(CHARGEBACK.name, topup.id, topup.user_id, now_ms, reason))

    def _pending_refunds(self, user_id: str) -> list[str]:
        with reading(self._engine).connect() as connection:
            return list(connection.execute(rows.pending_of(REFUND, user_id)).scalars())

    def _topup(self, topup_id: str) -> Bought:
        query = select(topups.c.id, topups.c.user_id).where(topups.c.id == topup_id, topups.c.state == "posted")
        with reading(self._engine).connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound
        return Bought(*row)

    def _body(self, topup: Bought) -> str | None:
        query = select(reversals.c.body).where(rows.at(CHARGEBACK, topup.id, topup.user_id))
        with reading(self._engine).connect() as connection:
            found: str | None = connection.execute(query).scalar()
        return found

    def _mark(self, partition: int) -> tuple[int, int]:
        query = select(watermarks.c.epoch, watermarks.c.n).where(watermarks.c.partition == partition)
        with reading(self._engine).connect() as connection:
            row = connection.execute(query).one_or_none()
        return (0, -1) if row is None else (row.epoch, row.n)
