"""Compares the orders with the entries that carried them out: what is posted is journaled, and the other way round."""

import functools
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, and_, select
from sqlalchemy.exc import DBAPIError

from server import limits
from server.entries import (
    CHARGEBACK,
    KINDS,
    LIMIT,
    TOPUP,
    Body,
    Decided,
    RefundEntry,
    ReversalEntry,
    Share,
    TopUpEntry,
)
from server.journal.findings import Wrong
from server.journal.parts import Part, shares_of
from server.journal.posted import limit_body, sale_row
from server.journal.tables import entries, missing, reversals, topups
from server.journal.totals import within
from server.store import keys

POSTED = "posted"
STATES = ("pending", POSTED, "refused")
Of = Sequence[ColumnElement[bool]]


class _Order(Struct, frozen=True):
    """An order's row beside its entry. `entry_body` is None when it has none."""

    kind: str
    ref: str
    user_id: str
    state: str
    body: str | None
    entry_body: str | None


class _TopUp(Struct, frozen=True):
    id: str
    user_id: str
    coins: int
    source: str
    state: str
    balance: int | None
    sale: str | None
    entry_body: str | None
    entry_balance: int | None
    entry_partition: int | None


class _Decision(Struct, frozen=True):
    """What a reversal takes, as its order keeps it."""

    coins: int
    reversed: list[Part]
    decided: Decided | None = None


class _Journaled(Struct, frozen=True):
    """An entry that no order asked for."""

    partition: int
    epoch: int
    n: int
    kind: str
    ref: str


def verify_orders(connection: Connection, these: Mapping[str, int] | None = None) -> list[Wrong]:
    """Compare all orders with all entries, or those of `these` (`totals.range_of`); the first that are wrong.

    Raises SQLAlchemyError.
    """
    try:
        with closing(_all(connection, these)) as found:
            return list(islice(found, limits.AUDIT_WRONG_MAX))
    except DBAPIError:
        connection.rollback()
        if not (tables := missing(connection)):
            raise
        every = range(limits.WALLET_PARTITIONS)
        return [Wrong(partition, table, "the table is missing") for table in tables for partition in every]


def _all(connection: Connection, these: Mapping[str, int] | None) -> Generator[Wrong]:
    topups, reversals, *without = _queries(ranged=these is not None)
    for topup in (_TopUp(*row) for row in _stream(connection, topups, these)):
        if what := _about_topup(topup):
            partition = keys.partition_of(topup.user_id) if topup.entry_partition is None else topup.entry_partition
            yield Wrong(partition, f"top-up {topup.id}", what)
    for order in (_Order(*row) for row in _stream(connection, reversals, these)):
        if what := _about_reversal(order):
            yield Wrong(keys.partition_of(order.user_id), f"{order.kind} {order.ref}", what)
    for entry in (_Journaled(*row) for query in without for row in _stream(connection, query, these)):
        yield Wrong(entry.partition, f"{entry.epoch}-{entry.n}", f"no order asked for {entry.kind} {entry.ref}")


def _about_topup(topup: _TopUp) -> str:
    """What is wrong with a top-up, or ''."""
    if topup.entry_body is None or topup.state != POSTED:
        return _about_state(topup.state, journaled=topup.entry_body is not None)
    try:
        entry = msgspec.json.decode(topup.entry_body, type=TopUpEntry)
    except msgspec.DecodeError as error:
        return f"its entry cannot be read: {error}"
    ours = entry.viewer, entry.coins, entry.source, topup.entry_balance, sale_row(entry.sale)
    theirs = topup.user_id, topup.coins, topup.source, topup.balance, topup.sale
    names = "user_id", "coins", "source", "balance", "sale"
    return next(
        (
            f"{name} is {they}, but {we} in its entry"
            for name, we, they in zip(names, ours, theirs, strict=True)
            if we != they
        ),
        "",
    )


def _about_reversal(order: _Order) -> str:
    """What is wrong with a reversal, or ''."""
    if order.entry_body is None or order.state != POSTED:
        return _about_state(order.state, journaled=order.entry_body is not None)
    kind = KINDS.get(order.kind)
    if kind is LIMIT:
        return _about_limit(order.body, order.entry_body)
    return _about_decision(kind.body, order.body, order.entry_body) if kind is not None and kind.reverses else ""


def _about_limit(body: str | None, entry_body: str) -> str:
    try:
        ours = limit_body(msgspec.json.decode(entry_body, type=Body).coins_per_day)
    except msgspec.DecodeError as error:
        return f"its entry cannot be read: {error}"
    return "" if body == ours else f"its row says {body}, but {ours} in its entry"


def _about_state(state: str, *, journaled: bool) -> str:
    if state not in STATES:
        return f"its state is {state}"
    if journaled == (state == POSTED):
        return ""
    return f"it is {state}, but {'journaled' if journaled else 'not journaled'}"


def _about_decision(of: type[Struct], body: str | None, entry_body: str) -> str:
    try:
        entry = msgspec.json.decode(entry_body, type=of)
        assert isinstance(entry, ReversalEntry)
        if body is None and isinstance(entry, RefundEntry) and entry.decided is None:
            return ""  # an older program did not write down what it takes: the whole gift
        decision = msgspec.json.decode(body or "", type=_Decision)
    except msgspec.DecodeError as error:
        return f"what it takes cannot be read: {error}"
    shares = shares_of(decision.reversed)
    same = (decision.coins, sum(share.diamonds for share in shares)) == (entry.coins, entry.diamonds)
    if isinstance(entry, RefundEntry):
        same = same and [share.creator for share in shares] == [entry.creator]
    else:
        same = same and sorted(shares, key=_creator) == sorted(entry.reversed, key=_creator)
    return "" if same and decision.decided == entry.decided else "what it takes is not what its entry took"


def _creator(share: Share) -> str:
    return share.creator


@functools.cache
def _queries(*, ranged: bool) -> tuple[Select[Any], ...]:
    """Statements for top-ups, reversals, and two kinds of entries that no order asked for: of a range, or of all.

    They are made once: to make one costs more than to carry it out.
    """
    which = (within(entries),) if ranged else ()
    return _topups(which), _reversals(which), *_without_order(which)


def _topups(which: Of) -> Select[Any]:
    of = and_(entries.c.ref == topups.c.id, entries.c.kind == TOPUP.name)
    columns = (topups.c[name] for name in _TopUp.__struct_fields__[:-3])
    query = select(*columns, entries.c.body, entries.c.balance, entries.c.partition).outerjoin_from(topups, entries, of)
    return query.where(*which).order_by(topups.c.id)


def _reversals(which: Of) -> Select[Any]:
    same = (entries.c.ref == reversals.c.ref, entries.c.kind == reversals.c.kind)
    of = and_(*same, entries.c.user_id == reversals.c.user_id)
    columns = (reversals.c[name] for name in _Order.__struct_fields__[:-1])
    query = select(*columns, entries.c.body).outerjoin_from(reversals, entries, of)
    return query.where(*which).order_by(*reversals.primary_key.columns)


def _without_order(which: Of) -> tuple[Select[Any], Select[Any]]:
    """Entries of orders that have no row. A chargeback freezes its wallet without an order of its own."""
    columns = [entries.c[name] for name in _Journaled.__struct_fields__]
    in_order = entries.c.partition, entries.c.epoch, entries.c.n
    where = entries.c.kind == TOPUP.name, topups.c.id.is_(None), *which
    of_topups = select(*columns).outerjoin_from(entries, topups, topups.c.id == entries.c.ref).where(*where)
    kinds = [kind.name for kind in KINDS.values() if kind.order == reversals.name]
    same = (entries.c.ref == reversals.c.ref, entries.c.kind == reversals.c.kind)
    of_reversals = (
        select(*columns)
        .outerjoin_from(entries, reversals, and_(*same, entries.c.user_id == reversals.c.user_id))
        .where(entries.c.kind.in_(kinds), reversals.c.ref.is_(None), *which)
        .where(entries.c.ref.not_like(f"{CHARGEBACK.name}-%"))
    )
    return of_topups.order_by(*in_order), of_reversals.order_by(*in_order)


def _stream(connection: Connection, query: Select[Any], these: Mapping[str, int] | None) -> Iterator[Any]:
    with connection.execute(query.execution_options(yield_per=limits.AUDIT_ROWS), these) as rows:
        yield from rows
