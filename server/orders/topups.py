"""Bought coins: the row with its unique id first, then the wallet, once; and what the journal tells of a wallet."""

from typing import Annotated

from msgspec import Meta, Struct
from sqlalchemy import Engine, select, tuple_

from protocol.ids import TopUpId, UserId
from server import limits
from server.clock import Clock
from server.entries import KINDS, TopUpEntry
from server.journal.bulk import insert_once
from server.journal.database import ask, reading
from server.journal.tables import entries, topups
from server.money.results import Adjusted, Money, TopUpConflict, fingerprint
from server.orders.rows import Pending


class TopUp(Struct, frozen=True, forbid_unknown_fields=True):
    """An order for coins that the host platform was paid for."""

    id: TopUpId
    coins: Annotated[int, Meta(ge=1, le=limits.TOPUP_COINS_MAX)]
    source: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]


class Written(Struct, frozen=True):
    """A top-up's row: what was ordered, and what came of it."""

    user_id: str
    coins: int
    source: str
    state: str
    balance: int | None


_WRITTEN = select(*(topups.c[name] for name in Written.__struct_fields__))


class Entry(Struct, frozen=True):
    """A journal entry as the host platform is told of it. `coins` has a sign."""

    entry: str
    kind: str
    ref: str
    coins: int
    balance: int | None
    room_id: str | None
    to: str | None
    at_ms: int


class Purchases:
    """Top-ups through journal and wallet. SQL runs in threads, never on the loop."""

    def __init__(self, engine: Engine, wallet: Money, clock: Clock) -> None:
        self._engine = engine
        self._wallet = wallet
        self._clock = clock

    async def top_up(self, user_id: UserId, order: TopUp) -> Adjusted:
        """Credit once per id, for ever. Raises TopUpConflict, Refused wallet_unavailable, SQLAlchemyError."""
        before = await ask(self._record, user_id, order)
        if before is not None:
            if (before.user_id, before.coins, before.source) != (user_id, order.coins, order.source):
                raise TopUpConflict
            if before.state == "posted" and before.balance is not None:
                return Adjusted(balance=before.balance, entry_id="", duplicate=True)
        print_ = fingerprint(user_id, order.coins, order.source)
        entry = TopUpEntry(id=order.id, viewer=user_id, coins=order.coins, source=order.source, fp=print_)
        return await self._wallet.order(entry)

    async def repeat(self, order: Pending) -> Adjusted:
        """Raises what `top_up` raises."""
        return await self.top_up(UserId(order.user_id), TopUp(order.ref, order.coins, order.source))

    def _record(self, user_id: str, order: TopUp) -> Written | None:
        """The row of this id that was there before, or None when this call made it.

        It looks before it writes: most of what is repeated was written long ago.
        """
        if (before := self._ordered(order.id)) is not None:
            return before
        row = {
            "id": order.id,
            "user_id": user_id,
            "coins": order.coins,
            "source": order.source,
            "at_ms": self._clock.now_ms(),
            "state": "pending",
        }
        with self._engine.begin() as connection:
            new = insert_once(connection, topups, row)
        return None if new else self._ordered(order.id)

    def _ordered(self, topup_id: str) -> Written | None:
        with reading(self._engine).connect() as connection:
            row = connection.execute(_WRITTEN.where(topups.c.id == topup_id)).one_or_none()
        return None if row is None else Written(*row)

    async def entries_of(self, user_id: UserId, before: tuple[int, int] | None) -> list[Entry]:
        """The newest journal entries of a wallet before `(epoch, n)`, a page of them. Raises SQLAlchemyError."""
        return await ask(self._entries_of, user_id, before)

    def _entries_of(self, user_id: str, before: tuple[int, int] | None) -> list[Entry]:
        query = select(entries).where(entries.c.user_id == user_id)
        if before is not None:
            query = query.where(tuple_(entries.c.epoch, entries.c.n) < before)
        newest = query.order_by(entries.c.epoch.desc(), entries.c.n.desc())  # a user's entries are of one partition
        with reading(self._engine).connect() as connection:
            rows = connection.execute(newest.limit(limits.ENTRIES_PAGE)).all()
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
    """Whether entries of a kind bring coins or take them; a newer program's kind is not known to do either."""
    kind = KINDS.get(name)
    return 0 if kind is None else kind.coins or 0
