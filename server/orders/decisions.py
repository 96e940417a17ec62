"""Decisions: what a reversal takes, written with its parts in one short transaction. A decision never changes.

A refund takes a whole gift, so it needs no lots. A chargeback takes what its top-up paid for: the lots are folded
before the lock, and under it only what was journaled meanwhile.
"""

from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine, Select, select, update

from server import limits
from server.entries import CHARGEBACK, KINDS, REFUND, Decided, Earlier, Kind
from server.journal import folding, parts
from server.journal.database import reading
from server.journal.folding import Folded, Position
from server.journal.parts import Gift, Part, SoFar
from server.journal.tables import entries, reversal_parts, reversals
from server.orders import rows
from server.orders.rows import NotYet, Pending


class Decision(Struct, frozen=True):
    """What a reversal takes, gift by gift. `coins` are those of the wallet. Older programs left no `decided`.

    SQL keeps it; the ledger entry stays short, with a sum per creator.
    """

    coins: int
    reversed: list[Part]
    decided: Decided | None = None

    @property
    def diamonds(self) -> int:
        return sum(part.diamonds for part in self.reversed)


class Planned(Struct, frozen=True):
    """What a chargeback needs to be decided: the wallet's lots, and the gifts that its top-up paid for."""

    folded: Folded
    gifts: dict[str, Gift]


def decided(connection: Connection, kind: Kind, ref: str, user_id: str) -> Decision | None:
    """The decision about an order, or None. Raises SQLAlchemyError."""
    return _decision(connection.execute(_body_of(kind, ref, user_id)).scalar())


def decide_refund(engine: Engine, gift: Gift, now_ms: int, reason: str) -> Decision | None:
    """Record a refund and decide it, once. None when something of the gift was taken back before.

    Raises NotYet while a chargeback of the wallet is under way, SQLAlchemyError.
    """
    order = Pending(REFUND.name, gift.ref, gift.user_id, now_ms, reason)
    with engine.begin() as connection:
        rows.lock(connection, gift.user_id)
        now = connection.execute(_before_refund(gift)).one()
        before = _decision(now.body)
        if before is not None or now.state == "refused":
            return before
        if now.state is None and now.under_way:
            raise NotYet
        if now.taken:
            rows.record(connection, order)
            _set(connection, order, state="refused")
            return None
        whole = parts.part_of(gift, gift.coins, SoFar())
        taken = _Taken(order, gift.coins, [(whole, gift)], [], new=now.state is None)
        return _write(connection, taken, (now.epoch, now.n), now.parts)


def plan_chargeback(engine: Engine, topup_id: str, user_id: str) -> Planned:
    """Find what a top-up paid for, without a lock. Raises SQLAlchemyError."""
    with reading(engine, limits.SQL_FOLD_S).connect() as connection:
        folded = folding.read(connection, user_id)
        planned = Planned(folded, parts.gifts(connection, user_id, folded.lots.lots[topup_id].parts))
    folding.keep_much(engine, user_id, folded)
    return planned


def decide_chargeback(engine: Engine, topup_id: str, user_id: str, planned: Planned) -> Decision | None:
    """Decide a recorded chargeback, once: coins that are left leave the wallet, and gifts give back the others.

    None while a refund is under way, because the two never overlap. Raises SQLAlchemyError.
    """
    with engine.begin() as connection:
        rows.lock(connection, user_id)
        now = connection.execute(_before_chargeback(topup_id, user_id)).one()
        before = _decision(now.body)
        if before is not None or now.under_way:
            return before
        folded = folding.catch_up(connection, user_id, planned.folded)
        lot = folded.lots.lots[topup_id]
        gifts = planned.gifts | parts.gifts(connection, user_id, lot.parts.keys() - planned.gifts.keys())
        earlier = parts.so_far(connection, user_id, lot.parts)
        order = Pending(CHARGEBACK.name, topup_id, user_id, 0)
        taken = _Taken(
            order,
            lot.left,
            [
                (parts.part_of(gifts[ref], coins, earlier.get(ref, SoFar())), gifts[ref])
                for ref, coins in lot.parts.items()
            ],
            [Earlier(ref, taken.coins, taken.diamonds) for ref, taken in sorted(earlier.items())],
            new=False,
        )
        return _write(connection, taken, folded.at, now.parts)


# --- what there is before a decision: one statement, because each waits for the database -----------------------------
def _before_refund(gift: Gift) -> Select[Any]:
    user_id = gift.user_id
    under_way = rows.pending_of(CHARGEBACK, user_id).where(reversals.c.body.is_not(None))
    of_user = reversal_parts.c.user_id == user_id
    of_gift = select(reversal_parts.c.gift).where(of_user, reversal_parts.c.gift == gift.ref)
    newest = select(entries).where(entries.c.user_id == user_id).order_by(entries.c.epoch.desc(), entries.c.n.desc())
    return select(
        select(reversals.c.state).where(rows.order_is(REFUND, gift.ref, user_id)).scalar_subquery().label("state"),
        _body_of(REFUND, gift.ref, user_id).scalar_subquery().label("body"),
        under_way.exists().label("under_way"),
        of_gift.exists().label("taken"),
        parts.count_of(user_id).scalar_subquery().label("parts"),
        newest.with_only_columns(entries.c.epoch).limit(1).scalar_subquery().label("epoch"),
        newest.with_only_columns(entries.c.n).limit(1).scalar_subquery().label("n"),
    )


def _before_chargeback(topup_id: str, user_id: str) -> Select[Any]:
    return select(
        _body_of(CHARGEBACK, topup_id, user_id).scalar_subquery().label("body"),
        rows.pending_of(REFUND, user_id).exists().label("under_way"),
        parts.count_of(user_id).scalar_subquery().label("parts"),
    )


def _body_of(kind: Kind, ref: str, user_id: str) -> Select[Any]:
    return select(reversals.c.body).where(rows.order_is(kind, ref, user_id))


def _decision(body: str | None) -> Decision | None:
    return None if body is None else msgspec.json.decode(body, type=Decision)


# --- writing ---------------------------------------------------------------------------------------------------------
class _Taken(Struct, frozen=True):
    """What an order takes: coins of the wallet, and parts of gifts. `new` says that it has no row yet."""

    order: Pending
    coins: int
    parts: list[tuple[Part, Gift]]
    earlier: list[Earlier]
    new: bool


def _write(connection: Connection, taken: _Taken, at: Position, before: int) -> Decision:
    order = taken.order
    new = [parts.row_of(order.kind, order.ref, part, gift) for part, gift in taken.parts]
    about = Decided(f"{at[0]}-{at[1]}", before, parts.hash_of(new), taken.earlier)
    decision = Decision(taken.coins, [part for part, _ in taken.parts], about)
    body = msgspec.json.encode(decision).decode()
    parts.insert(connection, new)
    if taken.new:
        rows.record(connection, msgspec.structs.replace(order, body=body))
    else:
        _set(connection, order, body=body)
    return decision


def _set(connection: Connection, order: Pending, **values: str) -> None:
    where = (rows.order_is(KINDS[order.kind], order.ref, order.user_id), reversals.c.state == "pending")
    connection.execute(update(reversals).where(*where).values(values))
