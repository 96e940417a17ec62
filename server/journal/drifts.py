"""The audit's look at what is derived: creators' days, parts of reversals, kept lots, and the view of all postings.

What new entries touch is compared in the audit that meets them, and everything within a day, a slice per audit. A wrong
day or posting of the view stops no partition. It is compared again in every audit until it is right.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine, Select, func, select, tuple_, union
from sqlalchemy.exc import SQLAlchemyError

from server import background, limits
from server.entries import GIFT, KINDS
from server.journal import accounts, again
from server.journal.database import reading
from server.journal.derived import (
    FIRST,
    REVERSALS,
    Day,
    Drift,
    wrong_days,
    wrong_days_of,
    wrong_parts,
    wrong_snapshot,
)
from server.journal.findings import Wrong
from server.journal.heads import Heads
from server.journal.log import Position
from server.journal.ordered import verify_orders
from server.journal.tables import creator_days, entries, lot_snapshots, reversal_parts, reversals
from server.journal.totals import range_of, within
from server.store import keys

Places = Mapping[int, Position]  # by partition


class Round(Struct):
    """How far a round over all rows of a kind is, and since when all of them have been compared."""

    at: Day = FIRST  # or a user's id and 0
    size: int = 0
    begun_ms: int = 0  # 0 between two rounds
    whole_ms: int = 0
    ahead: int = 0  # so many more entries than were due have been read for it

    def begin(self, now_ms: int, count: Callable[[], int]) -> None:
        """Begin a round, unless one is under way."""
        if not self.begun_ms:
            self.begun_ms, self.at, self.size = now_ms, FIRST, count()

    def move(self, to: Day | None) -> None:
        """Everything up to here is compared. None: to the end."""
        if to is None:
            self.whole_ms, self.begun_ms = self.begun_ms, 0
        else:
            self.at = to

    def share(self, passed_s: float) -> int:
        """How many are due, so that a round takes AUDIT_AGAIN_S."""
        share = math.ceil(self.size * min(1.0, passed_s / limits.AUDIT_AGAIN_S))
        return min(limits.AUDIT_AGAIN_MAX, limits.AUDIT_DERIVED_MIN + share)

    def due(self, most: int) -> int:
        """Of how many entries a slice is to be, if `most` are due by now. 0 when slices before it had more."""
        due = max(0, most - self.ahead)
        self.ahead = max(0, self.ahead - most)
        return due


class Rounds(Struct):
    """What is remembered between audits, and between starts in the signed row of the whole (`heads`)."""

    days: Round = msgspec.field(default_factory=Round)
    wallets: Round = msgspec.field(default_factory=Round)
    wrong: list[Day] = []  # msgspec copies it; days that were wrong when they were compared last
    view: int = 0  # the partition whose postings are compared next
    viewed_ms: int = 0  # when the last one was
    views: list[int] = []  # partitions whose postings were wrong


class Found(Struct):
    """What differs: of partitions, and of none."""

    wrong: list[Wrong] = []  # msgspec copies them
    nowhere: list[str] = []
    since_ms: int = 0  # all derived rows were compared since; 0 before the first round is over


class Drifts:
    """Compares derived rows with the entries."""

    def __init__(self, engine: Engine, heads: Heads) -> None:
        self._engine = reading(engine, limits.SQL_AUDIT_S)
        self._heads = heads
        self._rounds: Rounds | None = None
        self._looked_ms: int | None = None
        self._days: dict[Day, None] = {}  # touched, and not compared yet
        self._wallets: dict[str, None] = {}

    def look(self, before: Places, now_ms: int, *, everything: bool) -> Found:
        """Compare what the entries have touched that were verified since `before`, and a slice, or everything.

        Raises SQLAlchemyError.
        """
        rounds = self._rounds = self._rounds or msgspec.json.decode(self._heads.of_whole, type=Rounds)
        passed_s = 0.0 if self._looked_ms is None else max(0, now_ms - self._looked_ms) / 1000
        self._looked_ms = now_ms
        found = Found()
        if everything:
            rounds = self._rounds = Rounds()
            self._everything(rounds, found, now_ms)
        else:
            with self._engine.connect() as connection:
                found.wrong += self._touched(connection, before)
            for slice_of in (self._suspects, self._touched_days, self._touched_wallets):
                slice_of(rounds, found)
            rows = again.size(self._heads, passed_s)
            self._slice_of_days(rounds, found, now_ms, passed_s, rows)
            self._slice_of_wallets(rounds, found, now_ms, passed_s, rows)
        self._views(rounds, found, now_ms, everything=everything)
        found.since_ms = min(rounds.days.whole_ms, rounds.wallets.whole_ms)
        self._heads.of_whole = msgspec.json.encode(rounds).decode()
        return found

    # --- what new entries touch ----------------------------------------------------------------------------------
    def _touched(self, connection: Connection, before: Places) -> list[Wrong]:
        """Note the days and wallets that new entries touch, and compare their orders."""
        wrong: list[Wrong] = []
        for partition, start in before.items():
            reached = self._heads.known[partition].head.position if partition in self._heads.known else start
            if start < reached:
                new = range_of(partition, start, reached)
                self._note(self._days, _days_of_gifts(connection, new))
                orders = _orders(connection, new)
                if orders:
                    wrong += verify_orders(connection, new)
                for user_id, kind, ref in orders:
                    if kind in REVERSALS:
                        self._note(self._wallets, [user_id])
                        self._note(self._days, _days_of_parts(connection, user_id, kind, ref))
        return wrong

    def _note(self, noted: dict[Any, None], more: Iterable[Any]) -> None:
        for each in more:
            if len(noted) < limits.AUDIT_DERIVED_NOTED:  # what is left out has its turn within a day
                noted[each] = None

    def _touched_days(self, rounds: Rounds, found: Found) -> None:
        """Compare touched days. One of very many gifts waits for its turn."""
        left = limits.AUDIT_AGAIN_MAX
        some = sorted([*self._days][: limits.AUDIT_DERIVED_DAYS], key=lambda day: day[1])
        for number, days in groupby(some, key=lambda day: day[1]):
            with self._engine.connect() as connection:
                fit = []
                for creator, gifts in _gifts_of(connection, number, [creator for creator, _ in days]).items():
                    if gifts < limits.AUDIT_AGAIN_MAX and gifts > left:
                        continue  # in the next audit
                    del self._days[creator, number]
                    if gifts <= left:
                        fit.append(creator)
                        left -= gifts
                self._add_days(rounds, found, wrong_days_of(connection, number, fit) if fit else [])

    def _suspects(self, rounds: Rounds, found: Found) -> None:
        suspects, rounds.wrong = rounds.wrong, []
        for creator, number in suspects:
            with self._engine.connect() as connection:
                self._add_days(rounds, found, wrong_days_of(connection, number, [creator]))
            self._days.pop((creator, number), None)

    def _touched_wallets(self, _rounds: Rounds, found: Found) -> None:
        some = [*self._wallets][: limits.AUDIT_DERIVED_MIN]
        with self._engine.connect() as connection:
            for user_id in some:
                del self._wallets[user_id]
                if _size_of(connection, user_id) < limits.AUDIT_AGAIN_MAX:
                    found.wrong += wrong_of(connection, user_id)

    # --- slices --------------------------------------------------------------------------------------------------
    def _everything(self, rounds: Rounds, found: Found, now_ms: int) -> None:
        """All of it, in parts of a bounded size."""
        while not rounds.days.whole_ms:
            self._slice_of_days(rounds, found, now_ms, limits.AUDIT_AGAIN_S, limits.AUDIT_AGAIN_MAX)
        while not rounds.wallets.whole_ms:
            self._slice_of_wallets(rounds, found, now_ms, limits.AUDIT_AGAIN_S, limits.AUDIT_AGAIN_MAX)

    def _slice_of_days(self, rounds: Rounds, found: Found, now_ms: int, passed_s: float, most: int) -> None:
        """Compare the next days, of about `most` gifts."""
        turn = rounds.days
        if not (most := turn.due(most)):
            return
        with self._engine.connect() as connection:
            turn.begin(now_ms, lambda: _count(connection, select(creator_days.c.creator)))
            share, at = turn.share(passed_s), turn.at
            key = tuple_(creator_days.c.creator, creator_days.c.gift_day)
            query = select(creator_days.c.creator, creator_days.c.gift_day, creator_days.c.gifts)
            query = query.where(key > tuple_(*at)).order_by(creator_days.c.creator, creator_days.c.gift_day)
            gifts, last, seen = 0, at, 0
            for seen, row in enumerate(connection.execute(query.limit(share)).all(), 1):  # noqa: B007
                last, gifts = (row.creator, row.gift_day), gifts + row.gifts
                if gifts >= most:
                    break
            to = None if seen < share and gifts < most else last
            drifts = wrong_days(connection, at, to)
        self._add_days(rounds, found, drifts)
        turn.ahead += 0 if drifts else max(0, gifts - most)  # a wrong number of gifts puts nothing off
        turn.move(to)

    def _slice_of_wallets(self, rounds: Rounds, found: Found, now_ms: int, passed_s: float, most: int) -> None:
        """Compare the next wallets, of about `most` entries."""
        turn, rows, last = rounds.wallets, 0, None
        if not (most := turn.due(most)):
            return
        with self._engine.connect() as connection:
            turn.begin(now_ms, lambda: _count(connection, _wallets()))
            share = turn.share(passed_s)
            users = connection.execute(_wallets(turn.at[0], share)).scalars().all()
            for user_id in users:
                last, rows = user_id, rows + _size_of(connection, user_id)
                found.wrong += wrong_of(connection, user_id)
                if rows >= most:
                    break
        turn.ahead += max(0, rows - most)
        ended = last is None or (len(users) < share and last == users[-1])
        turn.move(None if ended or last is None else (last, 0))

    def _views(self, rounds: Rounds, found: Found, now_ms: int, *, everything: bool) -> None:
        """Compare what the view says of all partitions, or of the one that is due and of those that were wrong."""
        every = limits.BOOKS + 1
        some, rounds.views = [*range(every)] if everything else rounds.views, []
        since_ms = abs(now_ms - rounds.viewed_ms)  # the clock may jump back
        if not everything and since_ms >= limits.AUDIT_AGAIN_S * 1000 / limits.WALLET_PARTITIONS:
            some = [*dict.fromkeys([*some, rounds.view])]
            rounds.view, rounds.viewed_ms = (rounds.view + 1) % every, now_ms
        for partition in some:
            with self._engine.connect() as connection:
                if wrong := accounts.view_differs(connection, partition):
                    rounds.views.append(partition)
                    found.nowhere += wrong

    def _add_days(self, rounds: Rounds, found: Found, drifts: Sequence[Drift]) -> None:
        for drift in drifts:
            if drift.day is not None and drift.day not in rounds.wrong and len(rounds.wrong) < limits.AUDIT_WRONG_MAX:
                rounds.wrong.append(drift.day)
                found.nowhere.append(f"{drift.table}: {drift.where}: {drift.what}")


# --- wallets ---------------------------------------------------------------------------------------------------------
def of_partition(connection: Connection, partition: int) -> list[Wrong]:
    """Compare the parts and kept lots of all wallets of a partition. Raises SQLAlchemyError."""
    users = [user_id for user_id in connection.execute(_wallets()).scalars() if keys.partition_of(user_id) == partition]
    return [wrong for user_id in users for wrong in wrong_of(connection, user_id)]


def wrong_of(connection: Connection, user_id: str) -> list[Wrong]:
    """Compare the parts and kept lots of one wallet. Raises SQLAlchemyError."""
    partition = keys.partition_of(user_id)
    try:
        found = wrong_parts(connection, user_id) + wrong_snapshot(connection, user_id)
    except SQLAlchemyError:
        raise
    except Exception as error:  # its entries are wrong: derivation goes on with other wallets
        background.failed("audit-derived", error, partition=partition)
        return [Wrong(partition, f"reversal_parts:{user_id}", f"cannot be derived: {error!r}")]
    return [Wrong(partition, f"{drift.table}:{user_id}", f"{drift.where}: {drift.what}") for drift in found]


def _wallets(after: str = "", limit: int | None = None) -> Select[Any]:
    """A query for the wallets that have reversals, parts or kept lots, in order."""
    columns: tuple[tuple[Any, list[Any]], ...] = (
        (reversal_parts.c.user_id, []),
        (lot_snapshots.c.user_id, []),
        (reversals.c.user_id, [reversals.c.kind.in_(REVERSALS)]),
    )
    some = [
        select(column.label("user_id"))
        .where(column > after, *where)
        .distinct()
        .order_by(column)
        .limit(limit)
        .subquery()
        .select()
        for column, where in columns
    ]
    either = union(*some).subquery()
    return select(either.c.user_id).order_by(either.c.user_id).limit(limit)


def _size_of(connection: Connection, user_id: str) -> int:
    return _count(connection, select(entries.c.n).where(entries.c.user_id == user_id))


def _count(connection: Connection, query: Select[Any]) -> int:
    return int(connection.execute(select(func.count()).select_from(query.subquery())).scalar_one())


# --- new entries -----------------------------------------------------------------------------------------------------
_NEW_DAYS = (
    select(entries.c.creator_id, (entries.c.at_ms // limits.DAY_MS).label("day"))
    .where(within(entries), entries.c.kind == GIFT.name, entries.c.creator_id.is_not(None))
    .distinct()
)
_NEW_ORDERS = select(entries.c.user_id, entries.c.kind, entries.c.ref).where(
    within(entries), entries.c.kind.in_([kind.name for kind in KINDS.values() if kind.order])
)


def _days_of_gifts(connection: Connection, new: Mapping[str, int]) -> Iterator[Day]:
    yield from ((row[0], row[1]) for row in connection.execute(_NEW_DAYS, new).all())


def _orders(connection: Connection, new: Mapping[str, int]) -> list[tuple[str, str, str]]:
    return [(row[0], row[1], row[2]) for row in connection.execute(_NEW_ORDERS, new).all()]


def _days_of_parts(connection: Connection, user_id: str, kind: str, ref: str) -> Iterator[Day]:
    of = reversal_parts.c
    query = select(of.creator, of.gift_day).where(of.user_id == user_id, of.kind == kind, of.reversal == ref)
    yield from ((row[0], row[1]) for row in connection.execute(query.distinct()))


def _gifts_of(connection: Connection, number: int, creators: Sequence[str]) -> dict[str, int]:
    """How many gifts this day of these creators has, as the day says."""
    of = creator_days.c
    query = select(of.creator, func.sum(of.gifts)).where(of.gift_day == number, of.creator.in_(creators))
    query = query.group_by(of.creator)
    found = {creator: int(gifts) for creator, gifts in connection.execute(query)}
    return {creator: found.get(creator, 0) for creator in creators}
