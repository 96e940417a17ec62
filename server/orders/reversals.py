"""Refunds, chargebacks and freezes: the order in SQL first, then the wallet, each step repeatable by its id.

A chargeback freezes the wallet, waits until the journal knows all that it spent, and takes back exactly what the bad
top-up paid for: what is left of it from the wallet, the rest from the creators who got its gifts.
"""

import asyncio
import contextlib
import zlib
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine, and_, insert, select, text, update

from server import limits
from server.clock import Clock
from server.entries import (
    CHARGEBACK,
    GIFT,
    KIND_OF,
    REFUND,
    AdjustEntry,
    ChargebackEntry,
    FreezeEntry,
    RefundEntry,
    UnfreezeEntry,
)
from server.journal.bulk import insert_once
from server.journal.database import ask, reading
from server.journal.lots import Lots, Part, shares_of
from server.journal.tables import entries, reversals, topups, watermarks
from server.money.results import Adjusted, Money, fingerprint
from server.store import keys

LOCK_AREA = 0x11E2  # an advisory lock's first number: ours, any would do


class NotFound(Exception):
    """The journal has no such gift or top-up (yet)."""


class CannotReverse(Exception):
    """It was reversed before by another order, or its coins are gone; the text says which."""


class NotYet(Exception):
    """The journal has to catch up first; the same order again goes on from there."""


class Decision(Struct, frozen=True):
    """What a chargeback takes, gift by gift: kept in SQL. The ledger's entry must stay short: a sum per creator."""

    coins: int
    reversed: list[Part]

    @property
    def diamonds(self) -> int:
        return sum(part.diamonds for part in self.reversed)


class Reversed(Struct, frozen=True, kw_only=True):
    """What an order did. `coins` moved in the wallet; `reversed` were taken back from creators."""

    id: str
    duplicate: bool
    user_id: str
    coins: int
    balance: int
    diamonds: int
    reversed: list[Part]


class Reversals:
    """Orders of the host platform against gifts, top-ups and wallets."""

    def __init__(self, engine: Engine, wallet: Money, clock: Clock) -> None:
        self._engine = engine
        self._wallet = wallet
        self._clock = clock

    async def refund(self, gift_id: str, reason: str, user_id: str | None = None) -> Reversed:
        """Give a gift's coins back and take its diamonds. `user_id` says whose, where two viewers used one id.

        Raises NotFound, NotYet, CannotReverse, Refused, SQLAlchemyError.
        """
        gift = await ask(self._gift, gift_id, user_id)
        if not await ask(self._order_refund, gift, reason):
            raise NotYet
        return await self._refund(gift)

    async def _refund(self, gift: Any) -> Reversed:
        lots = await ask(
            self._lots, gift.user_id, within_s=limits.SQL_FOLD_S
        )  # before the look: a refund that they know is found
        before = await self._journaled(REFUND.name, gift.user_id, gift.ref)
        if before is None and lots.paid_by(gift.ref) != gift.coins:
            await ask(self._refuse_refund, gift)
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
        done = await self._adjust(entry)
        return _told(entry, done, gift.coins, gift.diamonds, [part])

    async def charge_back(self, topup_id: str, reason: str) -> Reversed:
        """Take a top-up back. Raises NotFound, NotYet, Refused, SQLAlchemyError."""
        topup = await ask(self._topup, topup_id)
        await self._order(CHARGEBACK.name, topup_id, topup.user_id, reason)
        body = await ask(self._body, CHARGEBACK.name, topup_id)
        for _ in range(limits.DECIDE_TRIES):
            if body is not None:
                break
            await self.freeze(topup.user_id, f"chargeback-{self._clock.new_id()}")
            for gift_id in await ask(self._pending, REFUND.name, topup.user_id):
                with contextlib.suppress(CannotReverse):
                    await self._refund(await ask(self._gift, gift_id, topup.user_id))
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
        done = await self._adjust(entry)
        return _told(entry, done, -entry.coins, entry.diamonds, decision.reversed)

    async def _decide(self, topup: Any) -> str | None:
        """What the chargeback takes from whom: decided once, when the journal knows all of the frozen wallet.

        None while a refund of this wallet is under way: of the two one is always finished before the other begins.
        """
        await self._until_journaled(topup.user_id)
        return await ask(self._decide_now, topup, within_s=limits.SQL_FOLD_S)

    def _decide_now(self, topup: Any) -> str | None:
        with self._engine.begin() as connection:
            _lock(connection, topup.user_id)
            row = connection.execute(select(reversals).where(_at(CHARGEBACK.name, topup.id))).one()
            if row.body is not None:
                return str(row.body)
            if connection.execute(_pending_of(REFUND.name, topup.user_id)).first() is not None:
                return None
            lots = _lots(connection, topup.user_id)
            taken = Decision(coins=lots.lots[topup.id].left, reversed=lots.parts_of(topup.id))
            decision = msgspec.json.encode(taken).decode()
            connection.execute(update(reversals).where(_at(CHARGEBACK.name, topup.id)).values(body=decision))
        return decision

    def _order_refund(self, gift: Any, reason: str) -> bool:
        """Write the order unless a chargeback of this wallet is decided and not journaled yet."""
        with self._engine.begin() as connection:
            _lock(connection, gift.user_id)
            ordered = select(reversals.c.ref).where(_at(REFUND.name, gift.ref), reversals.c.user_id == gift.user_id)
            if connection.execute(ordered).first() is not None:
                return True
            decided = _pending_of(CHARGEBACK.name, gift.user_id).where(reversals.c.body.is_not(None))
            if connection.execute(decided).first() is not None:
                return False
            row = {"kind": REFUND.name, "ref": gift.ref, "user_id": gift.user_id, "reason": reason, "state": "pending"}
            connection.execute(insert(reversals).values(**row, at_ms=self._clock.now_ms()))
        return True

    async def freeze(self, user_id: str, order_id: str) -> Adjusted:
        """No gifts from this wallet. Raises Refused."""
        return await self._set_status(FreezeEntry, user_id, order_id)

    async def unfreeze(self, user_id: str, order_id: str) -> Adjusted:
        """Gifts again. Raises NotYet while a chargeback of this wallet is not finished, Refused."""
        if await ask(self._pending, CHARGEBACK.name, user_id):
            raise NotYet
        return await self._set_status(UnfreezeEntry, user_id, order_id)

    async def _set_status(self, body: type[FreezeEntry | UnfreezeEntry], user_id: str, order_id: str) -> Adjusted:
        entry = body(id=order_id, viewer=user_id, fp=fingerprint(KIND_OF[body].name, user_id))
        return await self._adjust(entry)

    async def _adjust(self, entry: RefundEntry | ChargebackEntry | FreezeEntry | UnfreezeEntry) -> Adjusted:
        before = await self._journaled(KIND_OF[type(entry)].name, entry.viewer, entry.id)
        return before or await self._wallet.order(entry)

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
    async def _order(self, kind: str, ref: str, user_id: str, reason: str) -> None:
        """The order's row, made once: its unique id is the authority, before any coin moves."""
        row = {
            "kind": kind,
            "ref": ref,
            "user_id": user_id,
            "reason": reason[: limits.REASON_CHARS_MAX],
            "state": "pending",
        }

        def write() -> None:
            where = (_at(kind, ref), reversals.c.user_id == user_id)
            with reading(self._engine).connect() as connection:
                if connection.execute(select(reversals.c.ref).where(*where)).first() is not None:
                    return
            with self._engine.begin() as connection:
                insert_once(connection, reversals, {**row, "at_ms": self._clock.now_ms()})

        await ask(write)

    async def _journaled(self, kind: str, user_id: str, ref: str) -> Adjusted | None:
        """What the journal says of an order that was carried out before: its word holds for ever."""

        def read() -> Any:
            query = select(entries).where(entries.c.kind == kind, entries.c.user_id == user_id, entries.c.ref == ref)
            with reading(self._engine).connect() as connection:
                return connection.execute(query).one_or_none()

        row = await ask(read)
        if row is None:
            return None
        return Adjusted(balance=row.balance, entry_id=f"{row.epoch}-{row.n}", duplicate=True)

    def _pending(self, kind: str, user_id: str) -> list[str]:
        """Orders of this kind against a wallet that are not journaled yet."""
        with reading(self._engine).connect() as connection:
            return list(connection.execute(_pending_of(kind, user_id)).scalars())

    def _refuse_refund(self, gift: Any) -> None:
        where = (_at(REFUND.name, gift.ref), reversals.c.user_id == gift.user_id, reversals.c.state == "pending")
        with self._engine.begin() as connection:
            connection.execute(update(reversals).where(*where).values(state="refused"))

    def _gift(self, gift_id: str, user_id: str | None = None) -> Any:
        query = select(entries).where(entries.c.kind == GIFT.name, entries.c.ref == gift_id)
        if user_id is not None:
            query = query.where(entries.c.user_id == user_id)
        with reading(self._engine).connect() as connection:
            rows = connection.execute(query).all()
        if not rows:
            raise NotFound
        if len(rows) > 1:
            raise CannotReverse("two viewers used this id, and user_id does not say which")
        return rows[0]

    def _topup(self, topup_id: str) -> Any:
        with reading(self._engine).connect() as connection:
            row = connection.execute(
                select(topups).where(topups.c.id == topup_id, topups.c.state == "posted")
            ).one_or_none()
        if row is None:
            raise NotFound
        return row

    def _lots(self, user_id: str) -> Lots:
        with reading(self._engine).connect() as connection:
            return _lots(connection, user_id)

    def _body(self, kind: str, ref: str) -> str | None:
        query = select(reversals.c.body).where(reversals.c.kind == kind, reversals.c.ref == ref)
        with reading(self._engine).connect() as connection:
            found: str | None = connection.execute(query).scalar()
        return found

    def _mark(self, partition: int) -> tuple[int, int]:
        with reading(self._engine).connect() as connection:
            row = connection.execute(select(watermarks).where(watermarks.c.partition == partition)).one_or_none()
        return (0, -1) if row is None else (row.epoch, row.n)


def _lock(connection: Connection, user_id: str) -> None:
    """One decision about a wallet at a time: SQLite has one writer anyway, PostgreSQL locks by a number."""
    if connection.dialect.name == "postgresql":
        number = zlib.crc32(user_id.encode()) - 2**31
        connection.execute(text("SELECT pg_advisory_xact_lock(:area, :wallet)"), {"area": LOCK_AREA, "wallet": number})


def _at(kind: str, ref: str) -> Any:
    return and_(reversals.c.kind == kind, reversals.c.ref == ref)


def _pending_of(kind: str, user_id: str) -> Any:
    return select(reversals.c.ref).where(
        reversals.c.kind == kind, reversals.c.user_id == user_id, reversals.c.state == "pending"
    )


def _lots(connection: Connection, user_id: str) -> Lots:
    query = select(entries).where(entries.c.user_id == user_id).order_by(entries.c.epoch, entries.c.n)
    return Lots().take(connection.execute(query))


def _told(entry: AdjustEntry, done: Adjusted, coins: int, diamonds: int, parts: list[Part]) -> Reversed:
    return Reversed(
        id=entry.id,
        duplicate=done.duplicate,
        user_id=entry.viewer,
        coins=coins,
        balance=done.balance,
        diamonds=diamonds,
        reversed=parts,
    )
