"""Decisions: what a reversal takes, written with its parts in one short transaction. A decision never changes.

A refund takes a whole gift, so it needs no lots. A chargeback takes what its top-up paid for: the lots are folded
before the lock, and under it only what was journaled meanwhile.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine, select, update

from server.entries import CHARGEBACK, REFUND, Decided, Kind
from server.journal import folding, parts
from server.journal.database import reading
from server.journal.folding import Folded, Version
from server.journal.parts import Gift, Part, SoFar
from server.journal.tables import reversals
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


def decided(engine: Engine, kind: Kind, ref: str, user_id: str) -> Decision | None:
    """The decision about an order, or None. Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        return _decided(connection, kind, ref, user_id)


def decide_refund(engine: Engine, gift: Gift, now_ms: int, reason: str) -> Decision | None:
    """Record a refund and decide it, once. None when something of the gift was taken back before.

    Raises NotYet while a chargeback of the wallet is under way, SQLAlchemyError.
    """
    order = Pending(REFUND.name, gift.ref, gift.user_id, now_ms, reason)
    with engine.begin() as connection:
        rows.lock(connection, gift.user_id)
        state = rows.state_of(connection, REFUND, gift.ref, gift.user_id)
        before = _decided(connection, REFUND, gift.ref, gift.user_id)
        if before is not None or state == "refused":
            return before
        if state is None:
            under_way = rows.pending_of(CHARGEBACK, gift.user_id).where(reversals.c.body.is_not(None))
            if connection.execute(under_way).first() is not None:
                raise NotYet
            rows.record(connection, order)
        if parts.so_far(connection, gift.user_id, [gift.ref]):
            _set(connection, REFUND, gift.ref, gift.user_id, state="refused")
            return None
        version = folding.version_of(connection, gift.user_id)
        whole = parts.part_of(gift, gift.coins, SoFar())
        return _write(connection, gift.user_id, _Taken(REFUND, gift.ref, gift.coins, [(whole, gift)]), version)


def plan_chargeback(engine: Engine, topup_id: str, user_id: str) -> Planned:
    """Find what a top-up paid for, without a lock. Raises SQLAlchemyError."""
    folded = folding.fold(engine, user_id)
    with reading(engine).connect() as connection:
        return Planned(folded, parts.gifts(connection, user_id, folded.lots.lots[topup_id].parts))


def decide_chargeback(engine: Engine, topup_id: str, user_id: str, planned: Planned) -> Decision | None:
    """Decide a recorded chargeback, once: coins that are left leave the wallet, and gifts give back the others.

    None while a refund is under way, because the two never overlap. Raises SQLAlchemyError.
    """
    with engine.begin() as connection:
        rows.lock(connection, user_id)
        before = _decided(connection, CHARGEBACK, topup_id, user_id)
        if before is not None:
            return before
        if connection.execute(rows.pending_of(REFUND, user_id)).first() is not None:
            return None
        folded = folding.catch_up(connection, user_id, planned.folded)
        lot = folded.lots.lots[topup_id]
        gifts = planned.gifts | parts.gifts(connection, user_id, lot.parts.keys() - planned.gifts.keys())
        taken = _Taken(CHARGEBACK, topup_id, lot.left, _parts_of(connection, user_id, lot.parts, gifts))
        return _write(connection, user_id, taken, folded.version)


class _Taken(Struct, frozen=True):
    """What an order takes: coins of the wallet, and parts of gifts."""

    kind: Kind
    ref: str
    coins: int
    parts: list[tuple[Part, Gift]]


def _parts_of(
    connection: Connection, user_id: str, paid: Mapping[str, int], gifts: Mapping[str, Gift]
) -> list[tuple[Part, Gift]]:
    before = parts.so_far(connection, user_id, paid)
    return [(parts.part_of(gifts[ref], coins, before.get(ref, SoFar())), gifts[ref]) for ref, coins in paid.items()]


def _write(connection: Connection, user_id: str, taken: _Taken, version: Version) -> Decision:
    new = [parts.row_of(taken.kind.name, taken.ref, part, gift) for part, gift in taken.parts]
    about = Decided(version.log_id, version.parts, parts.hash_of(new))
    decision = Decision(taken.coins, [part for part, _ in taken.parts], about)
    parts.insert(connection, new)
    _set(connection, taken.kind, taken.ref, user_id, body=msgspec.json.encode(decision).decode())
    return decision


def _decided(connection: Connection, kind: Kind, ref: str, user_id: str) -> Decision | None:
    query = select(reversals.c.body).where(rows.order_is(kind, ref, user_id))
    body: str | None = connection.execute(query).scalar()
    return None if body is None else msgspec.json.decode(body, type=Decision)


def _set(connection: Connection, kind: Kind, ref: str, user_id: str, **values: str) -> None:
    where = (rows.order_is(kind, ref, user_id), reversals.c.state == "pending")
    connection.execute(update(reversals).where(*where).values(values))
