"""Orders in SQL: recorded as `pending` before anything moves, `posted` by the journal, `refused` when overtaken.

The row's unique id decides: everybody who repeats an order finds the row, and a journaled order never changes.
"""

import zlib
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Engine, and_, func, select, text, update

from server import limits
from server.entries import FREEZE, KIND_OF, KINDS, UNFREEZE, ChargebackEntry, Kind, OrderEntry, RefundEntry
from server.journal.books import EntryRow, WrongRow
from server.journal.bulk import insert_once
from server.journal.database import ask, reading
from server.journal.parts import GIFTS, Gift, Part, gift_from
from server.journal.tables import entries, reversals
from server.money.results import Adjusted, Money, Overtaken

LOCK_AREA = 0x11E2  # the first number of our advisory locks; the value is arbitrary
NEWER = "a newer order has overtaken it"
STATUS = FREEZE.name, UNFREEZE.name  # the kinds of orders that only set a wallet's status


class NotFound(Exception):
    """The journal has no such gift or top-up, or not yet."""


class CannotReverse(Exception):
    """The order can never be carried out. The text says why."""


class NotYet(Exception):
    """The journal has to catch up first. Sending the same order again continues it."""


class Reversed(Struct, frozen=True, kw_only=True):
    """What a reversal did. `coins` moved in the wallet; `reversed` lists what creators lost."""

    id: str
    duplicate: bool
    user_id: str
    coins: int
    balance: int
    diamonds: int
    reversed: list[Part]


class Pending(Struct, frozen=True):
    """A recorded order, with all that is needed to repeat it. Only top-ups have `coins` and `source`.

    `body` is the row's: a reversal gets it when it is decided, and a top-up's says what was paid.
    """

    kind: str
    ref: str
    user_id: str
    at_ms: int
    reason: str = ""
    coins: int = 0
    source: str = ""
    body: str | None = None


async def carry_out(engine: Engine, wallet: Money, entry: OrderEntry) -> Adjusted:
    """Carry out an order once: the journal knows old orders, and the wallet's receipt those not journaled yet.

    Raises CannotReverse when a newer order has overtaken it, TopUpConflict, Refused, SQLAlchemyError.
    """
    done = await ask(journaled, engine, KIND_OF[type(entry)], entry.viewer, entry.id)
    return done or await send(wallet, entry)


async def send(wallet: Money, entry: OrderEntry) -> Adjusted:
    """Carry out an order that was not journaled a moment ago: the wallet's receipt knows it if it was carried out.

    Raises CannotReverse when a newer order has overtaken it, TopUpConflict, Refused.
    """
    try:
        return await wallet.order(entry)
    except Overtaken:
        raise CannotReverse(NEWER) from None


def journaled(engine: Engine, kind: Kind, user_id: str, ref: str) -> Adjusted | None:
    """The outcome of an order that is already journaled, or None. Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        return journaled_in(connection, kind, user_id, ref)


def journaled_in(connection: Connection, kind: Kind, user_id: str, ref: str) -> Adjusted | None:
    """The same as a transaction sees it. Raises SQLAlchemyError."""
    query = select(entries.c.balance, entries.c.epoch, entries.c.n).where(
        entries.c.kind == kind.name, entries.c.user_id == user_id, entries.c.ref == ref
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Adjusted(balance=row.balance, entry_id=f"{row.epoch}-{row.n}", duplicate=True)


def lock(connection: Connection, user_id: str) -> None:
    """Allow one decision about a wallet at a time. SQLite has one writer anyway; PostgreSQL locks a number."""
    if connection.dialect.name == "postgresql":
        number = zlib.crc32(user_id.encode()) - 2**31
        connection.execute(text("SELECT pg_advisory_xact_lock(:area, :wallet)"), {"area": LOCK_AREA, "wallet": number})


def order_is(kind: Kind, ref: str, user_id: str) -> ColumnElement[bool]:
    """The condition that selects an order's row."""
    return and_(reversals.c.kind == kind.name, reversals.c.ref == ref, reversals.c.user_id == user_id)


def at_of(connection: Connection, kind: Kind, ref: str, user_id: str) -> int | None:
    """When an order was recorded, or None when there is no such order."""
    at_ms: int | None = connection.execute(select(reversals.c.at_ms).where(order_is(kind, ref, user_id))).scalar()
    return at_ms


def state_of(connection: Connection, kind: Kind, ref: str, user_id: str) -> str | None:
    """`pending`, `posted` or `refused`, or None when there is no such order."""
    state: str | None = connection.execute(select(reversals.c.state).where(order_is(kind, ref, user_id))).scalar()
    return state


def record(connection: Connection, order: Pending) -> bool:
    """Insert the order's row, unless it exists. Comes before any coin moves. True when it is new."""
    row = {"kind": order.kind, "ref": order.ref, "user_id": order.user_id, "at_ms": order.at_ms, "body": order.body}
    row |= {"reason": order.reason[: limits.REASON_CHARS_MAX], "state": "pending"}
    return insert_once(connection, reversals, row)


def ordered_ms(connection: Connection, user_id: str, now_ms: int) -> int:
    """The time of a new order: later than all orders of the wallet, whatever the clock says. Needs `lock`."""
    newest = connection.execute(select(func.max(reversals.c.at_ms)).where(reversals.c.user_id == user_id)).scalar()
    return max(now_ms, (newest or 0) + 1)


def renew(connection: Connection, order: Pending) -> None:
    """Make an order pending, also one that was overtaken and is sent again."""
    record(connection, order)
    again = update(reversals).where(order_is(KINDS[order.kind], order.ref, order.user_id))
    connection.execute(again.where(reversals.c.state != "posted").values(state="pending", at_ms=order.at_ms))


def overtake(connection: Connection, user_id: str, kinds: tuple[str, ...] = STATUS) -> None:
    """Refuse a wallet's pending orders of these kinds: a newer order decides.

    One that did reach the wallet, and lost only its answer, is still posted by the journal.
    """
    waiting = and_(reversals.c.kind.in_(kinds), reversals.c.user_id == user_id, reversals.c.state == "pending")
    connection.execute(update(reversals).where(waiting).values(state="refused"))


def pending_of(kind: Kind, user_id: str) -> Any:
    """A query for a wallet's pending orders of a kind."""
    return select(reversals.c.ref).where(
        reversals.c.kind == kind.name, reversals.c.user_id == user_id, reversals.c.state == "pending"
    )


def gift_of(connection: Connection, gift_id: str, user_id: str | None = None) -> Gift:
    """Find a journaled gift, and read it from its body. Raises NotFound, CannotReverse, SQLAlchemyError."""
    query = GIFTS.where(entries.c.ref == gift_id)
    if user_id is not None:
        query = query.where(entries.c.user_id == user_id)
    try:
        found = [gift_from(EntryRow(*row)) for row in connection.execute(query)]
    except WrongRow as wrong:
        raise CannotReverse(f"the journal is wrong in {wrong}") from None
    if not found:
        raise NotFound
    if len(found) > 1:
        raise CannotReverse("two viewers used this id, and user_id does not say which")
    return found[0]


def outcome_of(entry: RefundEntry | ChargebackEntry, done: Adjusted, coins: int, parts: list[Part]) -> Reversed:
    """A reversal as the host platform gets it. `coins` is negative when the wallet lost coins."""
    return Reversed(
        id=entry.id,
        duplicate=done.duplicate,
        user_id=entry.viewer,
        coins=coins,
        balance=done.balance,
        diamonds=entry.diamonds,
        reversed=parts,
    )
