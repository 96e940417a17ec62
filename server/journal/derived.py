"""What is derived from entries: parts, days and kept lots. Here they are derived again, compared and rebuilt."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import (
    Connection,
    Engine,
    Select,
    and_,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
    union,
    union_all,
    update,
)

from server import limits
from server.entries import CHARGEBACK, GIFT, KINDS, Decided
from server.journal import folding, parts, views
from server.journal.database import patient, reading
from server.journal.folding import Position
from server.journal.lots import Lots
from server.journal.maturity import MaturityDays
from server.journal.parts import Part, PartRow, SoFar
from server.journal.tables import creator_days, entries, lot_snapshots, reversal_parts, reversals
from server.journal.unlocked import unlocked
from server.text import several

REVERSALS = tuple(kind.name for kind in KINDS.values() if kind.reverses)


class Drift(Struct, frozen=True):
    """A derived row that differs from the entries. `user_id` is the wallet, if it is about one, or `day` the day."""

    table: str
    where: str
    what: str
    user_id: str | None = None
    day: "tuple[str, int] | None" = None


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

    def earlier(self, ref: str, derived: SoFar) -> SoFar:
        """What decisions before it take of a gift. Its entry says so, or it is what was derived up to here.

        Programs without `decided` rounded each part down by itself.
        """
        if self.decided is None:
            return SoFar()
        if self.decided.earlier is None:
            return derived
        said = (each for each in self.decided.earlier if each.gift == ref)
        return next((SoFar(each.coins, each.diamonds) for each in said), SoFar())


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
            part = parts.part_of(gifts[ref], some, reversal.earlier(ref, before))
            taken[ref] = SoFar(before.coins + part.coins, before.diamonds + part.diamonds)
            found.append(parts.row_of(row.kind, row.ref, part, gifts[ref]))
    return found


def derive_order(connection: Connection, user_id: str, kind: str, reversal: str) -> list[PartRow]:
    """The parts of one journaled reversal. Raises SQLAlchemyError, ValueError."""
    rows = derive_parts(connection, user_id)
    return [row for row in rows if (row.kind, row.reversal) == (kind, reversal)]


def _entries_of(connection: Connection, user_id: str) -> list[_Row]:
    columns: list[Any] = [entries.c[name] for name in _Row.__struct_fields__ if name != "body"]
    columns.append(case((entries.c.kind.in_(REVERSALS), entries.c.body), else_=""))  # a wallet has far more gifts
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
    written = _written(connection, user_id)
    wrong = [Drift("reversal_parts", _name(row), "no entry says so", user_id) for row in sorted(written - derived)]
    wrong += [Drift("reversal_parts", _name(row), "is missing", user_id) for row in sorted(derived - written)]
    return wrong + _wrong_hashes(connection, user_id, written)


def _written(connection: Connection, user_id: str) -> set[PartRow]:
    """A wallet's written parts, without those of reversals that are not journaled yet."""
    under_way = _not_journaled(connection, user_id)
    query = select(reversal_parts).where(reversal_parts.c.user_id == user_id)
    written = (PartRow(*row) for row in connection.execute(query))
    return {row for row in written if (row.kind, row.reversal) not in under_way}


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
Day = tuple[str, int]  # a creator, and a day since 1970
FIRST: Day = ("", 0)  # before all others


def _moves(of_gifts: Sequence[Any] = (), of_parts: Sequence[Any] = ()) -> Select[Any]:
    """A query for the days as the entries and parts have them, or some of them."""
    day = entries.c.at_ms // limits.DAY_MS
    sent = select(
        entries.c.creator_id.label("creator"),
        day.label("gift_day"),
        MaturityDays().label("maturity_days"),
        entries.c.diamonds.label("credited"),
        literal(0).label("taken_back"),
        literal(1).label("gifts"),
    ).where(entries.c.kind == GIFT.name, entries.c.creator_id.is_not(None), *of_gifts)
    part = reversal_parts.c
    taken = select(part.creator, part.gift_day, part.maturity_days, literal(0), part.diamonds, literal(0)).join(
        entries, is_entry_of_part()
    )
    moved = union_all(sent, taken.where(*of_parts)).subquery()
    sums = (func.sum(moved.c[name]).label(name) for name in ("credited", "taken_back", "gifts"))
    key = moved.c.creator, moved.c.gift_day, moved.c.maturity_days
    return select(*key, *sums).group_by(*key)


def is_entry_of_part() -> Any:
    """The condition that joins a part with the entry of its reversal."""
    return and_(
        entries.c.ref == reversal_parts.c.reversal,
        entries.c.kind == reversal_parts.c.kind,
        entries.c.user_id == reversal_parts.c.user_id,
    )


def wrong_days(connection: Connection, after: Day = FIRST, up_to: Day | None = None) -> list[Drift]:
    """Where days `after < day <= up_to` differ from entries and parts, in the order of their key.

    Without `up_to` to the end. Raises SQLAlchemyError.
    """
    gift, stored = (
        tuple_(entries.c.creator_id, entries.c.at_ms),
        tuple_(creator_days.c.creator, creator_days.c.gift_day),
    )
    part = tuple_(reversal_parts.c.creator, reversal_parts.c.gift_day)
    found = [[gift > tuple_(*_end_of(after))], [part > tuple_(*after)], [stored > tuple_(*after)]]
    if up_to is not None:
        for wheres, column, to in zip(found, (gift, part, stored), (_end_of(up_to), up_to, up_to), strict=True):
            wheres.append(column <= tuple_(*to))
    return _days_differ(connection, *found)


def wrong_days_of(connection: Connection, day: int, creators: Sequence[str]) -> list[Drift]:
    """Where this day of these creators differs from entries and parts. Raises SQLAlchemyError."""
    at_ms = entries.c.at_ms
    of_gifts = entries.c.creator_id.in_(creators), at_ms >= day * limits.DAY_MS, at_ms < (day + 1) * limits.DAY_MS
    of_parts = reversal_parts.c.creator.in_(creators), reversal_parts.c.gift_day == day
    return _days_differ(
        connection, of_gifts, of_parts, (creator_days.c.creator.in_(creators), creator_days.c.gift_day == day)
    )


def _end_of(day: Day) -> Day:
    """The creator, and the last millisecond of the day; before the first day of all, that of no day."""
    return day if day == FIRST else (day[0], (day[1] + 1) * limits.DAY_MS - 1)


def _days_differ(connection: Connection, of_gifts: Any, of_parts: Any, stored: Any) -> list[Drift]:
    kept = {
        (row.creator, row.gift_day, row.maturity_days): (row.credited, row.taken_back, row.gifts)
        for row in connection.execute(select(creator_days).where(*stored))
    }
    derived = {
        (row.creator, row.gift_day, row.maturity_days): (int(row.credited), int(row.taken_back), int(row.gifts))
        for row in connection.execute(_moves(of_gifts, of_parts))
    }
    nothing = (0, 0, 0)
    return [
        Drift(
            "creator_days",
            f"{key[0]} on day {key[1]}",
            f"the entries have {right}, the day {said} of gifts that ripen after {key[2]} days",
            day=key[:2],
        )
        for key in sorted(kept.keys() | derived.keys())
        if (said := kept.get(key, nothing)) != (right := derived.get(key, nothing))
    ]


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
    """What a rebuild has written: rows of days, and parts that were missing. `removed` parts were of no entry."""

    days: int
    parts: int
    removed: int = 0

    def said(self) -> str:
        """What is written, in words."""
        return f"{several(self.days, 'day')} of creators, and {several(self.parts, 'missing part')} of reversals"


def rebuild(engine: Engine) -> Rebuilt:
    """Put parts right, write all days again, make the view again, and drop kept lots. The drain waits.

    Raises SQLAlchemyError.
    """
    users = list(_wallets_with_reversals(engine))
    with patient(engine, limits.SQL_MIGRATE_S).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("LOCK TABLE creator_days, lot_snapshots IN EXCLUSIVE MODE")
        corrected = [_correct(connection, user_id) for user_id in users]
        for user_id in users:
            correct_orders(connection, user_id)
        connection.execute(delete(lot_snapshots))
        connection.execute(delete(creator_days))
        connection.execute(insert(creator_days).from_select(creator_days.columns.keys(), _moves()))
        views.make(connection)
        days = connection.execute(select(func.count()).select_from(creator_days)).scalar_one()
    return Rebuilt(int(days), sum(added for added, _ in corrected), sum(removed for _, removed in corrected))


def _wallets_with_reversals(engine: Engine) -> list[str]:
    journaled = select(entries.c.user_id).where(entries.c.kind.in_(REVERSALS))
    with reading(engine, limits.SQL_MIGRATE_S).connect() as connection:
        return list(connection.execute(union(journaled, select(reversal_parts.c.user_id))).scalars())


def _correct(connection: Connection, user_id: str) -> tuple[int, int]:
    """Write a wallet's missing parts and delete those of no entry. Returns how many. Those under way stay."""
    derived = set(derive_parts(connection, user_id))
    written = _written(connection, user_id)
    wrong, missing = sorted(written - derived), sorted(derived - written)
    if wrong:
        with unlocked(connection):
            for row in wrong:
                this = parts.order_is(user_id, row.kind, row.reversal), reversal_parts.c.gift == row.gift
                connection.execute(delete(reversal_parts).where(*this))
    parts.insert(connection, missing)
    return len(missing), len(wrong)


# --- the rows of reversals -------------------------------------------------------------------------------------------
class _Decision(Struct, frozen=True):
    """What the row of a reversal keeps."""

    coins: int
    reversed: list[Part]
    decided: Decided | None


def decision(connection: Connection, user_id: str, entry: Any, rows: Sequence[PartRow]) -> str:
    """What a journaled reversal took gift by gift: `entry` has its coins and body, `rows` are its parts."""
    gifts = parts.gifts(connection, user_id, {row.gift for row in rows})
    taken = [Part(row.gift, row.creator, gifts[row.gift].room_id, row.coins, row.diamonds) for row in rows]
    return msgspec.json.encode(_Decision(entry.coins, taken, _BODY.decode(entry.body).decided)).decode()


def correct_orders(connection: Connection, user_id: str) -> None:
    """Write down again what a wallet's journaled reversals took, where that is not what their parts say."""
    by_order: dict[tuple[str, str], list[PartRow]] = {}
    for part in _written(connection, user_id):
        by_order.setdefault((part.kind, part.reversal), []).append(part)
    for reversal in _reversals_in(_entries_of(connection, user_id)):
        row = reversal.row
        this = (reversals.c.kind == row.kind, reversals.c.ref == row.ref, reversals.c.user_id == user_id)
        body = connection.execute(select(reversals.c.body).where(*this)).scalar()
        right = sorted(by_order.get((row.kind, row.ref), []))
        if body is None and reversal.decided is None:
            continue  # an older program did not write down what it takes
        if _parts_in(body) != [(part.gift, part.coins, part.diamonds) for part in right]:
            values = {"body": decision(connection, user_id, row, right)}
            connection.execute(update(reversals).where(*this).values(values))


def _parts_in(body: str | None) -> list[tuple[str, int, int]]:
    try:
        kept = msgspec.json.decode(body or "", type=_Decision)
    except msgspec.DecodeError:
        return []
    return sorted((part.gift_id, part.coins, part.diamonds) for part in kept.reversed)
