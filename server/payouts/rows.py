"""Payouts in SQL: every change of one goes through `move`, with its entry in the books and the act that made it."""

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Row, func, insert, select, update

from server import limits
from server.booked import HoldEntry, Money, PaidEntry, ReleaseEntry, ReturnEntry
from server.journal import pen
from server.journal.payouts import payout_acts, payouts, withholdings
from server.payouts import bounds
from server.payouts.states import MOVES, OFF, State
from server.providers.interface import Instruction, Payee


class Payout(Struct, frozen=True, kw_only=True):
    """A payout as it stands."""

    id: str
    creator: str
    state: State
    asked: str
    diamonds: int
    rate: str
    currency: str
    gross: int
    fee: int
    withheld: int
    net: int
    tax: str
    provider: str
    key: str
    batch: str
    payee: str | None
    payee_hash: str
    flags: list[str]
    eyes: int
    reason: str
    retryable: bool
    ref: str
    said_ms: int
    requested_ms: int
    changed_ms: int
    sent_ms: int
    due_ms: int
    late_ms: int
    tries: int
    alarm: str

    @property
    def instruction(self) -> Instruction:
        """What its provider gets."""
        payee = msgspec.json.decode(self.payee or '{"name":""}', type=Payee)
        return Instruction(
            key=self.key,
            batch=self.batch,
            amount=self.net,
            currency=self.currency,
            payee=payee,
            text=f"Payout {self.id}",
            sent_ms=self.sent_ms,
        )


class Act(Struct, frozen=True):
    """One thing that was done with a payout."""

    n: int
    at_ms: int
    act: str
    by: str
    reason: str
    before: str
    after: str


class Doing(Struct, frozen=True):
    """Who does what now, and why."""

    act: str
    by: str
    at_ms: int
    reason: str = ""


class Forbidden(Exception):
    """The payout's state does not allow this: the last act says who came before."""

    def __init__(self, payout: Payout, last: Act) -> None:
        super().__init__(f"{payout.id} is {payout.state}")
        self.payout, self.last = payout, last


class NoSuchPayout(Exception):
    """There is no such payout."""


# --- reading ---------------------------------------------------------------------------------------------------------
def find(connection: Connection, id: str) -> Payout | None:
    """A payout, without a lock."""
    row = connection.execute(select(payouts).where(payouts.c.id == id)).first()
    return None if row is None else of_row(row)


def locked(connection: Connection, id: str) -> Payout:
    """A payout that nobody else changes until the transaction ends. The books are locked first, as in every change.

    Raises NoSuchPayout, BooksFrozen.
    """
    pen.lock(connection)
    row = connection.execute(select(payouts).where(payouts.c.id == id).with_for_update()).first()
    if row is None:
        raise NoSuchPayout(id)
    return of_row(row)


def acts_of(connection: Connection, id: str) -> list[Act]:
    """What was done with a payout, the oldest first."""
    query = select(payout_acts).where(payout_acts.c.payout == id).order_by(payout_acts.c.n).limit(bounds.ACTS_MAX)
    return [Act(*row[1:]) for row in connection.execute(query)]


def of_row(row: Row[Any]) -> Payout:
    values = row._asdict()
    values |= {"state": State(values["state"]), "retryable": bool(values["retryable"])}
    return Payout(**{**values, "flags": msgspec.json.decode(values["flags"], type=list[str])})


# --- writing ---------------------------------------------------------------------------------------------------------
def new_key() -> str:
    """A provider's idempotency key, which is made once for a payout."""
    return f"lr-{secrets.token_hex(15)}"


def begin(connection: Connection, payout: Payout, doing: Doing) -> None:
    """Write a new payout down, and hold its diamonds."""
    values = msgspec.structs.asdict(payout)
    values |= {"state": payout.state.value, "flags": msgspec.json.encode(payout.flags).decode()}
    connection.execute(insert(payouts).values(values | {"retryable": int(payout.retryable)}))
    _book(connection, payout, HoldEntry, doing.at_ms)
    _note(connection, payout.id, doing, "", payout.state.value)


def move(connection: Connection, payout: Payout, to: State, doing: Doing, **changes: Any) -> Payout:
    """Move a locked payout, with what that does to the diamonds and the money. Raises Forbidden."""
    if to not in MOVES[payout.state]:
        raise Forbidden(payout, acts_of(connection, payout.id)[-1])
    if to in OFF:
        _book(connection, payout, ReleaseEntry, doing.at_ms)
    elif to in (State.PAID, State.RETURNED):
        _pay(connection, payout, to, doing.at_ms)
    _note(connection, payout.id, doing, payout.state.value, to.value)
    return change(connection, payout, state=to, changed_ms=doing.at_ms, **changes)


def change(connection: Connection, payout: Payout, **changes: Any) -> Payout:
    """Change a locked payout's row otherwise."""
    values = {name: int(value) if isinstance(value, bool) else value for name, value in changes.items()}
    if isinstance(state := values.get("state"), State):
        values["state"] = state.value
    if "flags" in values:
        values["flags"] = msgspec.json.encode(values["flags"]).decode()
    connection.execute(update(payouts).where(payouts.c.id == payout.id).values(values))
    return msgspec.structs.replace(payout, **changes)


def note(connection: Connection, payout: Payout, doing: Doing) -> None:
    """Write down what moves nothing."""
    _note(connection, payout.id, doing, payout.state.value, payout.state.value)


def _note(connection: Connection, id: str, doing: Doing, before: str, after: str) -> None:
    of = payout_acts.c.payout == id
    n = connection.execute(select(func.coalesce(func.max(payout_acts.c.n), 0)).where(of)).scalar_one() + 1
    reason = doing.reason[: limits.REASON_CHARS_MAX]
    values: dict[str, Any] = {
        "payout": id,
        "n": n,
        "at_ms": doing.at_ms,
        "act": doing.act,
        "by_id": doing.by,
        "reason": reason,
    }
    connection.execute(insert(payout_acts).values(values | {"before": before, "after": after}))


def _pay(connection: Connection, payout: Payout, to: State, at_ms: int) -> None:
    money = Money(currency=payout.currency, net=payout.net, fee=payout.fee, withheld=payout.withheld)
    paid = to is State.PAID
    _book(connection, payout, PaidEntry if paid else ReturnEntry, at_ms, provider=payout.provider, money=money)
    if payout.withheld:
        row: dict[str, Any] = {"payout": payout.id, "kind": "paid" if paid else "returned", "creator": payout.creator}
        row |= {"rate": payout.rate, "tax": payout.tax, "currency": payout.currency, "at_ms": at_ms}
        sign = 1 if paid else -1
        row |= {"gross": sign * payout.gross, "withheld": sign * payout.withheld}
        connection.execute(insert(withholdings).values(row))


def _book(connection: Connection, payout: Payout, kind: Any, at_ms: int, **more: Any) -> None:
    entry = kind(id=payout.id, creator=payout.creator, diamonds=payout.diamonds, rate=payout.rate, **more)
    pen.write(connection, entry, at_ms)


def listed(connection: Connection, *where: Any, after: str | None, limit: int) -> Sequence[Payout]:
    """Payouts with the given conditions, by id."""
    query = select(payouts).where(*where)
    if after is not None:
        query = query.where(payouts.c.id > after)
    return [of_row(row) for row in connection.execute(query.order_by(payouts.c.id).limit(limit))]
