"""Parts: what a reversal takes of which gift, coin for coin. They are written once, when the reversal is decided.

All parts of a gift together take `diamonds * coins_reversed // coins`, so a gift that is wholly reversed gives back
exactly its diamonds, in any order and from any number of top-ups.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

from msgspec import Struct
from msgspec.structs import astuple
from sqlalchemy import ColumnElement, Connection, Engine, Select, String, and_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from server import limits
from server.entries import GIFT, KINDS, Share
from server.journal.books import EntryRow, derived
from server.journal.bulk import insert_some
from server.journal.database import reading
from server.journal.tables import entries, reversal_parts, reversals

T = TypeVar("T")


class Gift(Struct, frozen=True):
    """A journaled gift, as far as its parts need it."""

    ref: str
    user_id: str
    creator_id: str
    room_id: str | None
    coins: int
    diamonds: int
    at_ms: int
    maturity_days: int

    @property
    def day(self) -> int:
        return self.at_ms // limits.DAY_MS


class Part(Struct, frozen=True):
    """What a reversal takes of one gift."""

    gift_id: str
    creator: str
    room: str | None
    coins: int
    diamonds: int


class PartRow(Struct, frozen=True, order=True):
    """A row of `reversal_parts`, with its columns in order."""

    user_id: str
    kind: str
    reversal: str
    gift: str
    creator: str
    gift_day: int
    coins: int
    diamonds: int
    maturity_days: int


class SoFar(Struct, frozen=True):
    """What decided reversals take of a gift together."""

    coins: int = 0
    diamonds: int = 0


assert reversal_parts.columns.keys() == list(PartRow.__struct_fields__)


def part_of(gift: Gift, coins: int, before: SoFar) -> Part:
    """The part of a gift that takes these coins, after the parts that were decided before."""
    diamonds = gift.diamonds * (before.coins + coins) // gift.coins - before.diamonds
    return Part(gift.ref, gift.creator_id, gift.room_id, coins, diamonds)


def row_of(kind: str, reversal: str, part: Part, gift: Gift) -> PartRow:
    """The row of a reversal's part."""
    return PartRow(
        gift.user_id,
        kind,
        reversal,
        part.gift_id,
        part.creator,
        gift.day,
        part.coins,
        part.diamonds,
        gift.maturity_days,
    )


def shares_of(parts: Iterable[Part]) -> list[Share]:
    """Sum the parts by creator."""
    sums: dict[str, Share] = {}
    for part in parts:
        so_far = sums.get(part.creator, Share(part.creator, 0, 0))
        sums[part.creator] = Share(part.creator, so_far.coins + part.coins, so_far.diamonds + part.diamonds)
    return list(sums.values())


def hash_of(rows: Iterable[PartRow]) -> str:
    """The hash of an order's parts, in whatever order they come."""
    lines = sorted(f"{row.gift} {row.creator} {row.gift_day} {row.coins} {row.diamonds}\n" for row in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]


# --- SQL -------------------------------------------------------------------------------------------------------------
REVERSING = [kind.name for kind in KINDS.values() if kind.reverses]
GIFTS = select(entries).where(entries.c.kind == GIFT.name)


def gift_from(row: EntryRow) -> Gift:
    """A gift by its row's body: columns are not trusted where diamonds move. Raises WrongRow."""
    about = derived(row)
    assert about.creator is not None
    named = about.id, about.viewer, about.creator, about.room
    return Gift(*named, about.coins, about.diamonds, row.at_ms, about.ripens_after_days)


def gifts(connection: Connection, user_id: str, refs: Iterable[str]) -> dict[str, Gift]:
    """A wallet's journaled gifts by their ids. Raises SQLAlchemyError."""
    found: dict[str, Gift] = {}
    for some in _chunks(refs):
        query = GIFTS.where(_among(connection, entries.c.ref, some), entries.c.user_id == user_id)
        gifts_found = (gift_from(EntryRow(*row)) for row in connection.execute(query))
        found.update({gift.ref: gift for gift in gifts_found})
    return found


def so_far(connection: Connection, user_id: str, refs: Iterable[str]) -> Mapping[str, SoFar]:
    """What decided reversals take of a wallet's gifts. A gift without parts is missing. Raises SQLAlchemyError."""
    found: dict[str, SoFar] = {}
    sums = select(reversal_parts.c.gift, func.sum(reversal_parts.c.coins), func.sum(reversal_parts.c.diamonds))
    for some in _chunks(refs):
        query = sums.where(reversal_parts.c.user_id == user_id, _among(connection, reversal_parts.c.gift, some))
        for gift, coins, diamonds in connection.execute(query.group_by(reversal_parts.c.gift)):
            found[gift] = SoFar(int(coins), int(diamonds))
    return found


def of_order(connection: Connection, user_id: str, kind: str, reversal: str) -> list[PartRow]:
    """The parts of one reversal. Raises SQLAlchemyError."""
    where = order_is(user_id, kind, reversal)
    return [PartRow(*row) for row in connection.execute(select(reversal_parts).where(where))]


def with_gifts(engine: Engine, user_id: str, kind: str, reversal: str) -> list[tuple[PartRow, str]]:
    """The parts of one reversal, each with its gift's entry as JSON. Raises SQLAlchemyError."""
    gift = and_(
        entries.c.ref == reversal_parts.c.gift,
        entries.c.kind == GIFT.name,
        entries.c.user_id == reversal_parts.c.user_id,
    )
    query = select(reversal_parts, entries.c.body).join(entries, gift).where(order_is(user_id, kind, reversal))
    with reading(engine).connect() as connection:
        return [(PartRow(*part), body) for *part, body in connection.execute(query)]


def order_is(user_id: str, kind: str, reversal: str) -> ColumnElement[bool]:
    """The condition that selects a reversal's parts."""
    table = reversal_parts.c
    return and_(table.user_id == user_id, table.kind == kind, table.reversal == reversal)


def orders_under_way(user_id: str) -> Any:
    """A query for the kinds and ids of a wallet's decided reversals that are not journaled yet."""
    where = (reversals.c.user_id == user_id, reversals.c.state == "pending", reversals.c.body.is_not(None))
    return select(reversals.c.kind, reversals.c.ref).where(reversals.c.kind.in_(REVERSING), *where)


def count_of(user_id: str) -> Select[Any]:
    """A query for how many parts of a wallet's gifts are decided."""
    return select(func.count()).select_from(reversal_parts).where(reversal_parts.c.user_id == user_id)


def insert(connection: Connection, rows: Iterable[PartRow]) -> None:
    """Write decided parts. Raises SQLAlchemyError."""
    insert_some(connection, reversal_parts, [astuple(row) for row in rows])


def _among(connection: Connection, column: Any, values: list[str]) -> ColumnElement[bool]:
    """Whether a column has one of these values. PostgreSQL gets one array: it reads 500 values far more slowly."""
    if connection.dialect.name == "postgresql":
        return cast(ColumnElement[bool], column == func.any(bindparam(None, values, type_=ARRAY(String))))
    return cast(ColumnElement[bool], column.in_(values))


def _chunks(refs: Iterable[T]) -> Iterator[list[T]]:
    """Some at a time, because a statement takes a bounded number of values."""
    every = list(refs)
    for first in range(0, len(every), limits.SQL_VALUES_MAX):
        yield every[first : first + limits.SQL_VALUES_MAX]
