"""Top-ups: first the row with its unique id, then the wallet, once. Also lists a wallet's journal entries."""

import msgspec
from msgspec import Struct
from sqlalchemy import Engine, delete, select, tuple_

from protocol.ids import TopUpId, UserId
from server import limits
from server.clock import Clock
from server.entries import KINDS, Sale, TopUpEntry
from server.journal import paid
from server.journal.bulk import insert_once
from server.journal.database import ask, reading
from server.journal.paid import Paid
from server.journal.posted import Bought, bought, sale_row
from server.journal.tables import entries, topups
from server.money.results import Adjusted, Money, TopUpConflict, fingerprint
from server.orders.rows import Pending


class TopUp(Struct, frozen=True):
    """An order for coins that somebody has paid the host platform for, and what they paid if it is known."""

    id: TopUpId
    coins: int
    source: str
    sale: Sale | None = None

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """What a repeated order must have, too. What is newer than the first programs counts only when it is set."""
        return (self.coins, self.source, *(() if self.sale is None else (sale_row(self.sale),)))


class Entry(Struct, frozen=True):
    """A journal entry as the host platform gets it. `coins` is negative when the wallet lost coins."""

    entry: str
    kind: str
    ref: str
    coins: int
    balance: int | None
    room_id: str | None
    to: str | None
    at_ms: int


class Purchases:
    """Carries out top-ups. SQL runs in threads, never on the loop."""

    def __init__(self, engine: Engine, wallet: Money, clock: Clock) -> None:
        self._engine = engine
        self._wallet = wallet
        self._clock = clock

    async def top_up(self, user_id: UserId, order: TopUp) -> Adjusted:
        """Credit exactly once per id. Raises TopUpConflict, Refused wallet_unavailable, SQLAlchemyError."""
        before = await ask(self._record, user_id, order)
        if before is not None:
            theirs = before.user_id, before.coins, before.source, before.sale
            if theirs != (user_id, order.coins, order.source, sale_row(order.sale)):
                raise TopUpConflict
            if before.state == "posted" and before.balance is not None:
                return Adjusted(balance=before.balance, entry_id="", duplicate=True)
        entry = TopUpEntry(
            id=order.id,
            viewer=user_id,
            coins=order.coins,
            source=order.source,
            sale=order.sale,
            fp=fingerprint(user_id, *order.fingerprint),
        )
        if not await self._wallet.claim(order.id, entry.fp):
            await ask(self._forget, user_id, order.id)
            raise TopUpConflict
        return await self._wallet.order(entry)

    async def repeat(self, order: Pending) -> Adjusted:
        """Carry out a pending order again. Raises what `top_up` raises."""
        sale = None if order.body is None else msgspec.json.decode(order.body, type=Sale)
        return await self.top_up(UserId(order.user_id), TopUp(order.ref, order.coins, order.source, sale))

    async def find(self, topup_id: str) -> TopUp | None:
        """An order that was recorded before, or None. Raises SQLAlchemyError."""
        found = await ask(self._written, topup_id)
        if found is None:
            return None
        sale = None if found.sale is None else msgspec.json.decode(found.sale, type=Sale)
        return TopUp(topup_id, found.coins, found.source, sale)

    def _record(self, user_id: str, order: TopUp) -> Bought | None:
        """Insert the row. None when it is new, else the order that has this id.

        Read first: most repeated orders were recorded long ago, and a read takes no write lock.
        """
        if (before := self._written(order.id)) is not None:
            return before
        row = {
            "id": order.id,
            "user_id": user_id,
            "coins": order.coins,
            "source": order.source,
            "at_ms": self._clock.now_ms(),
            "state": "pending",
            "sale": sale_row(order.sale),
        }
        with self._engine.begin() as connection:
            new = insert_once(connection, topups, row)
        return None if new else self._written(order.id)

    def _written(self, topup_id: str) -> Bought | None:
        with reading(self._engine).connect() as connection:
            return bought(connection, topup_id)

    def _forget(self, user_id: str, topup_id: str) -> None:
        """Delete the row of an order whose id the wallet store knows from another one: it can never be carried out."""
        this = (topups.c.id == topup_id, topups.c.user_id == user_id, topups.c.state == "pending")
        with self._engine.begin() as connection:
            connection.execute(delete(topups).where(*this))

    async def paid(self, user_id: UserId) -> Paid:
        """What the coins that a wallet has left were paid with. Raises SQLAlchemyError."""
        return await ask(paid.of_wallet, self._engine, user_id, within_s=limits.SQL_FOLD_S)

    async def entries_of(
        self, user_id: UserId, before: tuple[int, int] | None, limit: int = limits.PAGE
    ) -> list[Entry]:
        """A page of a wallet's newest journal entries before the log id `(epoch, n)`. Raises SQLAlchemyError."""
        return await ask(self._entries_of, user_id, before, limit)

    def _entries_of(self, user_id: str, before: tuple[int, int] | None, limit: int) -> list[Entry]:
        query = select(entries).where(entries.c.user_id == user_id)
        if before is not None:
            query = query.where(tuple_(entries.c.epoch, entries.c.n) < before)
        newest = query.order_by(entries.c.epoch.desc(), entries.c.n.desc())  # a user's entries are in one partition
        with reading(self._engine).connect() as connection:
            rows = connection.execute(newest.limit(limit)).all()
        return [
            Entry(
                entry=f"{row.epoch}-{row.n}",
                kind=row.kind,
                ref=row.ref,
                coins=_sign(row.kind) * row.coins,
                balance=row.balance,
                room_id=row.room_id,
                to=row.creator_id,
                at_ms=row.at_ms,
            )
            for row in rows
        ]


def _sign(name: str) -> int:
    """1 for a kind that brings coins, -1 for one that takes them, 0 for others and for kinds of a newer program."""
    kind = KINDS.get(name)
    coins = None if kind is None else kind.coins
    return coins or 0
