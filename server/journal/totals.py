"""Counts and sums over a partition's rows, cheap enough for every audit: an inserted or removed row shows at once.

A balance or a time is counted by its remainder, because their sums would leave 64 bits.
"""

from typing import Any, cast

from msgspec import Struct, structs
from sqlalchemy import Connection, Table, and_, bindparam, func, select, tuple_

from server import limits
from server.entries import KINDS
from server.journal.log import Position
from server.journal.sums import Sums, add_kind
from server.journal.tables import entries, legs, positions, watermarks

REMAINDER = limits.AUDIT_REMAINDER
Kinds = dict[str, tuple[int, int, int]]


class Totals(Struct, frozen=True):
    """What the rows of a partition's `entries` and `legs` sum to, up to some log id."""

    kinds: Kinds = {}  # msgspec copies it; by kind: entries, coins, diamonds
    balances: int = 0
    credited: int = 0
    combos: int = 0
    times: int = 0
    legs: int = 0  # stored postings, and their amounts
    amounts: int = 0
    weighed: int = 0  # by the number of the leg: amounts alone sum to zero

    def plus(self, more: "Totals") -> "Totals":
        """The totals of these rows and `more`."""
        kinds = dict(self.kinds)
        for kind, counted in more.kinds.items():
            before = kinds.get(kind, (0, 0, 0))
            kinds[kind] = (before[0] + counted[0], before[1] + counted[1], before[2] + counted[2])
        summed = {name: getattr(self, name) + getattr(more, name) for name in self.__struct_fields__ if name != "kinds"}
        return Totals(kinds, **summed)

    @property
    def sums(self) -> Sums:
        """The sums that the store counts, too."""
        sums = Sums()
        for kind, (count, coins, diamonds) in self.kinds.items():
            sums.entries += count
            add_kind(sums, KINDS.get(kind), coins, diamonds)
        return sums

    @property
    def credits(self) -> int:
        """The diamonds that creators' counters rose by."""
        return sum(counted[2] for name, counted in self.kinds.items() if (kind := KINDS.get(name)) and kind.credits)

    @property
    def flat(self) -> "Flat":
        """The same, without the kinds."""
        counted = [sum(each) for each in zip(*self.kinds.values(), strict=True)] or [0, 0, 0]
        rest = [getattr(self, name) for name in self.__struct_fields__ if name != "kinds"]
        return Flat(*counted, *rest)


class Flat(Struct, frozen=True):
    """Totals without the kinds, which cost twice as much to count. Each field is named in findings."""

    entries: int = 0
    coins: int = 0
    diamonds: int = 0
    balances: int = 0
    credited: int = 0
    combos: int = 0
    times: int = 0
    legs: int = 0
    amounts: int = 0
    weighed: int = 0

    def differs(self, other: "Flat") -> list[str]:
        """What differs, for findings."""
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in self.__struct_fields__]
        return [f"{name} sum to {theirs}, not {ours}" for name, ours, theirs in pairs if ours != theirs]


class Held(Struct, frozen=True):
    """What a partition's `positions` sum to."""

    coins: int = 0
    diamonds: int = 0


class Counted(Struct):
    """All rows of a partition, as one transaction saw them."""

    mark: Position = (0, 0)  # of a partition without a watermark
    rows: Flat = Flat()
    held: Held = Held()


def _numbers(table: Table, *names: str) -> list[Any]:
    return [func.coalesce(func.sum(table.c[name]), 0) for name in names]


_REMAINDERS = [
    func.coalesce(func.sum(entries.c[name] % REMAINDER), 0) for name in ("balance", "credited", "combo_count", "at_ms")
]
_OF_KIND = [func.count(), *_numbers(entries, "coins", "diamonds")]
_LEGS = [func.count(), *_numbers(legs, "amount"), func.coalesce(func.sum(legs.c.amount * legs.c.leg), 0)]


def within(table: Table) -> Any:
    """A partition's rows with `after < log id <= up_to`; `range_of` gives the values of its parameters."""
    at = tuple_(table.c.epoch, table.c.n)
    after = tuple_(bindparam("after_epoch"), bindparam("after_n"))
    up_to = tuple_(bindparam("to_epoch"), bindparam("to_n"))
    return and_(table.c.partition == bindparam("partition"), at > after, at <= up_to)


def range_of(partition: int, after: Position, up_to: Position) -> dict[str, int]:
    """The parameters of `within`."""
    start, end = {"after_epoch": after[0], "after_n": after[1]}, {"to_epoch": up_to[0], "to_n": up_to[1]}
    return {"partition": partition, **start, **end}


# Statements are made once: to make one costs more than to carry it out, and a small audit has hundreds.
_KINDS = select(entries.c.kind, *_OF_KIND, *_REMAINDERS).where(within(entries)).group_by(entries.c.kind)
_STORED = select(*_LEGS).where(within(legs))


def between(connection: Connection, partition: int, after: Position, up_to: Position, *, stored: bool = True) -> Totals:
    """The totals of a partition's rows `after < log id <= up_to`. `stored` is False if it has no stored postings there.

    Raises SQLAlchemyError.
    """
    if after == up_to:
        return Totals()  # most partitions of most audits: nothing is new
    kinds: Kinds = {}
    remainders = [0, 0, 0, 0]
    these = range_of(partition, after, up_to)
    for kind, *found in connection.execute(_KINDS, these):
        counted = [int(each) for each in found]
        kinds[kind] = cast(tuple[int, int, int], tuple(counted[:3]))
        remainders = [before + more for before, more in zip(remainders, counted[3:], strict=True)]
    sums = connection.execute(_STORED, these).one() if stored else ()
    return Totals(kinds, *remainders, *(int(each) for each in sums))


def count(connection: Connection) -> dict[int, Counted]:
    """Count all rows of all partitions. Raises SQLAlchemyError.

    One statement per table: PostgreSQL takes five times as long for one per partition, whose rows lie far apart.
    """
    query = select(watermarks.c.partition, watermarks.c.epoch, watermarks.c.n)
    found = {partition: Counted((epoch, n)) for partition, epoch, n in connection.execute(query)}
    of_entries = select(entries.c.partition, *_OF_KIND, *_REMAINDERS).group_by(entries.c.partition)
    for partition, *sums in connection.execute(of_entries):
        each = found.setdefault(partition, Counted())
        each.rows = Flat(*(int(sum_) for sum_ in sums))
    for partition, *sums in connection.execute(select(legs.c.partition, *_LEGS).group_by(legs.c.partition)):
        each = found.setdefault(partition, Counted())
        number, amounts, weighed = (int(sum_) for sum_ in sums)
        each.rows = structs.replace(each.rows, legs=number, amounts=amounts, weighed=weighed)
    _count_positions(connection, found)
    return found


def _count_positions(connection: Connection, found: dict[int, Counted]) -> None:
    of_viewers = positions.c.account.like("viewer:%")
    for name, where in (("coins", of_viewers), ("diamonds", ~of_viewers)):
        query = select(positions.c.partition, *_numbers(positions, "balance")).where(where)
        for partition, sum_ in connection.execute(query.group_by(positions.c.partition)):
            each = found.setdefault(partition, Counted())
            each.held = structs.replace(each.held, **{name: int(sum_)})
