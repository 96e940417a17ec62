"""What is derived from entries: parts, days and kept lots. Here they are derived again, compared and rebuilt."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine, Select, and_, delete, func, insert, literal, select, union_all

from server import limits
from server.entries import CHARGEBACK, GIFT, KINDS, Decided
from server.journal import folding, parts
from server.journal.database import patient, reading
from server.journal.folding import Position
from server.journal.lots import Lots
from server.journal.parts import PartRow, SoFar
from server.journal.tables import creator_days, entries, lot_snapshots, reversal_parts

REVERSALS = tuple(kind.name for kind in KINDS.values() if kind.reverses)


class Drift(Struct, frozen=True):
    """A derived row that differs from the entries. `user_id` is the wallet, if it is about one."""

    table: str
    where: str
    what: str
    user_id: str | None = None


class _Row(Struct, frozen=True):
    kind: str
    ref: str
    coins: int
    epoch: int
    n: int
    body: str

    @property
    def at(self) -> Position:
        return self.epoch, self.n


class _Body(Struct, frozen=True):
    decided: Decided | None = None


class _Reversal(Struct, frozen=True):
    """A reversal's entry, and how far the wallet's lots were folded when it was decided."""

    row: _Row
    decided: Decided | None
    folded_to: Position
    order: tuple[int, int, Position]  # in which reversals were decided: those without `decided` came first


_BODY = msgspec.json.Decoder(_Body)


# --- parts -----------------------------------------------------------------------------------------------------------
def derive_parts(connection: Connection, user_id: str) -> list[PartRow]:
    """The parts of a wallet's journaled reversals, from its entries alone. Raises SQLAlchemyError, ValueError."""
    rows = _entries_of(connection, user_id)
    reversals = _reversals_in(rows)
    coins = _coins_of(rows, reversals)
    gifts = parts.gifts(connection, user_id, {ref for each in coins.values() for ref in each})
    taken: dict[str, SoFar] = {}
    found = []
    for reversal in sorted(reversals, key=lambda each: each.order):
        row = reversal.row
        for ref, some in coins[row.at].items():
            before = taken.get(ref, SoFar())
            # Older programs rounded each part down by itself.
            part = parts.part_of(gifts[ref], some, SoFar() if reversal.decided is None else before)
            taken[ref] = SoFar(before.coins + part.coins, before.diamonds + part.diamonds)
            found.append(parts.row_of(row.kind, row.ref, part, gifts[ref]))
    return found


def derive_order(connection: Connection, user_id: str, kind: str, reversal: str) -> list[PartRow]:
    """The parts of one journaled reversal. Raises SQLAlchemyError, ValueError."""
    rows = derive_parts(connection, user_id)
    return [row for row in rows if (row.kind, row.reversal) == (kind, reversal)]


def _entries_of(connection: Connection, user_id: str) -> list[_Row]:
    columns = (entries.c[name] for name in _Row.__struct_fields__)
    query = select(*columns).where(entries.c.user_id == user_id).order_by(entries.c.epoch, entries.c.n)
    return [_Row(*row) for row in connection.execute(query)]


def _reversals_in(rows: Sequence[_Row]) -> list[_Reversal]:
    found = []
    before = folding.START
    for row in rows:
        if row.kind in REVERSALS:
            decided = _BODY.decode(row.body).decided
            if decided is None:
                found.append(_Reversal(row, None, before, (0, 0, row.at)))
            else:
                found.append(_Reversal(row, decided, _position(decided.at), (1, decided.before, row.at)))
        before = row.at
    return found


def _coins_of(rows: Sequence[_Row], reversals: Sequence[_Reversal]) -> dict[Position, dict[str, int]]:
    """The coins that each reversal takes of each gift."""
    lots, at = Lots(), 0
    found: dict[Position, dict[str, int]] = {}
    for reversal in sorted(reversals, key=lambda each: each.folded_to):
        first = at
        while at < len(rows) and rows[at].at <= reversal.folded_to:
            at += 1
        lots.take(rows[first:at])
        row = reversal.row
        if row.kind != CHARGEBACK.name:
            found[row.at] = {row.ref: row.coins}
            continue
        later = {} if reversal.decided else lots.spent_since(row.ref, row.coins)
        paid = lots.lots[row.ref].parts
        found[row.at] = {ref: some for ref in paid if (some := paid[ref] - later.get(ref, 0))}
    return found


def _position(log_id: str) -> Position:
    epoch, _, n = log_id.partition("-")
    return int(epoch), int(n)


def wrong_parts(connection: Connection, user_id: str) -> list[Drift]:
    """Where a wallet's parts differ from its entries. Parts of reversals that are not journaled yet are left out."""
    derived = set(derive_parts(connection, user_id))
    under_way = _not_journaled(connection, user_id)
    query = select(reversal_parts).where(reversal_parts.c.user_id == user_id)
    written = {PartRow(*row) for row in connection.execute(query)}
    written = {row for row in written if (row.kind, row.reversal) not in under_way}
    wrong = [Drift("reversal_parts", _name(row), "no entry says so", user_id) for row in sorted(written - derived)]
    wrong += [Drift("reversal_parts", _name(row), "is missing", user_id) for row in sorted(derived - written)]
    return wrong + _wrong_hashes(connection, user_id, written)


def _name(row: PartRow) -> str:
    return f"{row.kind} {row.reversal} of {row.gift}: {row.coins} coins, {row.diamonds} diamonds of {row.creator}"


def _not_journaled(connection: Connection, user_id: str) -> set[tuple[str, str]]:
    """Decided reversals whose entry is still on its way, by the table of orders."""
    table = parts.orders_under_way(user_id)
    return {(row.kind, row.ref) for row in connection.execute(table)}


def _wrong_hashes(connection: Connection, user_id: str, written: set[PartRow]) -> list[Drift]:
    by_order: dict[tuple[str, str], list[PartRow]] = {}
    for part in written:
        by_order.setdefault((part.kind, part.reversal), []).append(part)
    wrong = []
    for reversal in _reversals_in(_entries_of(connection, user_id)):
        decided, key = reversal.decided, (reversal.row.kind, reversal.row.ref)
        if decided is not None and parts.hash_of(by_order.get(key, [])) != decided.hash:
            wrong.append(
                Drift("reversal_parts", f"{key[0]} {key[1]}", "the entry has another hash of its parts", user_id)
            )
    return wrong


# --- days ------------------------------------------------------------------------------------------------------------
def _moves(creators: Sequence[str] | None = None) -> Select[Any]:
    """A query for the days as the entries and parts have them."""
    day = entries.c.at_ms // limits.DAY_MS
    sent = select(
        entries.c.creator_id.label("creator"),
        day.label("gift_day"),
        entries.c.diamonds.label("credited"),
        literal(0).label("taken_back"),
        literal(1).label("gifts"),
    ).where(entries.c.kind == GIFT.name, entries.c.creator_id.is_not(None))
    taken = select(
        reversal_parts.c.creator, reversal_parts.c.gift_day, literal(0), reversal_parts.c.diamonds, literal(0)
    ).join(entries, _is_entry_of_part())
    if creators is not None:
        sent = sent.where(entries.c.creator_id.in_(creators))
        taken = taken.where(reversal_parts.c.creator.in_(creators))
    moved = union_all(sent, taken).subquery()
    sums = (func.sum(moved.c[name]).label(name) for name in ("credited", "taken_back", "gifts"))
    return select(moved.c.creator, moved.c.gift_day, *sums).group_by(moved.c.creator, moved.c.gift_day)


def _is_entry_of_part() -> Any:
    return and_(
        entries.c.ref == reversal_parts.c.reversal,
        entries.c.kind == reversal_parts.c.kind,
        entries.c.user_id == reversal_parts.c.user_id,
    )


def creators_after(connection: Connection, creator: str = "", limit: int = limits.AUDIT_WALLETS) -> list[str]:
    """Some creators who have days or gifts, in order: the next ones to compare. Raises SQLAlchemyError."""
    either = union_all(
        *(
            select(column.label("creator"))
            .where(column > creator)
            .group_by(column)
            .order_by(column)
            .limit(limit)
            .subquery()
            .select()
            for column in (entries.c.creator_id, creator_days.c.creator)
        )
    ).subquery()
    query = select(either.c.creator).distinct().order_by(either.c.creator).limit(limit)
    return list(connection.execute(query).scalars())


def wrong_days(connection: Connection, creators: Sequence[str]) -> list[Drift]:
    """Where these creators' days differ from entries and parts. Raises SQLAlchemyError."""
    stored = select(creator_days).where(creator_days.c.creator.in_(creators))
    kept = {
        (row.creator, row.gift_day): (row.credited, row.taken_back, row.gifts) for row in connection.execute(stored)
    }
    derived = {
        (row.creator, row.gift_day): (int(row.credited), int(row.taken_back), int(row.gifts))
        for row in connection.execute(_moves(creators))
    }
    nothing = (0, 0, 0)
    return [
        Drift("creator_days", f"{creator} on day {day}", f"the entries have {right}, the day {said}")
        for creator, day in sorted(kept.keys() | derived.keys())
        if (said := kept.get((creator, day), nothing)) != (right := derived.get((creator, day), nothing))
    ]


class TakenBack(Struct, frozen=True):
    """What all journaled reversals took of gifts. `coins_charged_back` had been spent before their chargebacks."""

    coins_charged_back: int
    diamonds: int


def taken_back(engine: Engine) -> TakenBack:
    """The sums for the audit's report. Raises SQLAlchemyError."""
    coins = select(func.coalesce(func.sum(reversal_parts.c.coins), 0)).join(entries, _is_entry_of_part())
    diamonds = select(func.coalesce(func.sum(creator_days.c.taken_back), 0))
    with reading(engine, limits.SQL_AUDIT_S).connect() as connection:
        charged_back = connection.execute(coins.where(reversal_parts.c.kind == CHARGEBACK.name)).scalar_one()
        return TakenBack(int(charged_back), int(connection.execute(diamonds).scalar_one()))


# --- kept lots -------------------------------------------------------------------------------------------------------
def wrong_snapshot(connection: Connection, user_id: str) -> list[Drift]:
    """Whether a wallet's kept lots differ from its entries. Raises SQLAlchemyError, ValueError."""
    row = connection.execute(select(lot_snapshots).where(lot_snapshots.c.user_id == user_id)).one_or_none()
    if row is None or row.format != folding.FORMAT:
        return []
    lots = Lots().take(each for each in _entries_of(connection, user_id) if each.at <= (row.epoch, row.n))
    if folding.encode(lots) == row.lots:
        return []
    return [Drift("lot_snapshots", f"{user_id} after {row.epoch}-{row.n}", "is not what the entries say", user_id)]


# --- rebuilding ------------------------------------------------------------------------------------------------------
class Rebuilt(Struct, frozen=True):
    """What a rebuild has written: rows of days, and parts that were missing."""

    days: int
    parts: int


def rebuild(engine: Engine) -> Rebuilt:
    """Write missing parts, then all days again, and drop kept lots. The drain waits. Raises SQLAlchemyError."""
    users = list(_wallets_with_reversals(engine))
    with patient(engine, limits.SQL_MIGRATE_S).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("LOCK TABLE creator_days, lot_snapshots IN EXCLUSIVE MODE")
        added = sum(_add_missing(connection, user_id) for user_id in users)
        connection.execute(delete(lot_snapshots))
        connection.execute(delete(creator_days))
        connection.execute(insert(creator_days).from_select(creator_days.columns.keys(), _moves()))
        days = connection.execute(select(func.count()).select_from(creator_days)).scalar_one()
    return Rebuilt(int(days), added)


def _wallets_with_reversals(engine: Engine) -> Iterator[str]:
    query = select(entries.c.user_id).where(entries.c.kind.in_(REVERSALS)).distinct()
    with reading(engine, limits.SQL_MIGRATE_S).connect() as connection:
        yield from connection.execute(query).scalars().all()


def _add_missing(connection: Connection, user_id: str) -> int:
    """Write the parts of reversals that have none."""
    query = select(reversal_parts.c.kind, reversal_parts.c.reversal).where(reversal_parts.c.user_id == user_id)
    there = {(row.kind, row.reversal) for row in connection.execute(query)}
    missing = [row for row in derive_parts(connection, user_id) if (row.kind, row.reversal) not in there]
    parts.insert(connection, missing)
    return len(missing)
