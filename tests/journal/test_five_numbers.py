"""The five numbers add up after any history of gifts, reversals and payouts, now and as of any moment before."""

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from sqlalchemy import Engine

from server import limits
from server.booked import CorrectionEntry, HoldEntry, Money, Move, PaidEntry, ReleaseEntry, ReturnEntry, WriteOffEntry
from server.journal import database, pen
from server.journal.database import reading
from server.journal.earnings import Figures, read
from server.journal.moments import Moment, end_of_day, moment
from server.journal.verify import verify
from tests.journal.desk import drifts
from tests.journal.shop import Books, Shop
from tests.journal.test_derived import STEPS, Story

EUROS = Money(currency="EUR", net=1)
WHICH = st.integers(0, 9)
PAYOUTS = st.one_of(
    st.tuples(st.just("hold"), st.integers(0, 2), st.integers(1, 30)),
    st.tuples(st.sampled_from(["release", "paid", "paid", "returned"]), WHICH),
    st.tuples(st.sampled_from(["write_off", "correct"]), st.integers(0, 2), st.integers(1, 9)),
    st.tuples(st.just("wait"), st.integers(1, 9)),
)
HISTORIES = st.lists(st.one_of(STEPS, PAYOUTS, PAYOUTS), min_size=6, max_size=24)


class Paid(Story):
    """A story in which creators are paid, and time goes on."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop)
        self.payouts: dict[str, tuple[str, str, int]] = {}  # state, creator, diamonds
        self.adjusted: Counter[str] = Counter()
        self.numbers = itertools.count()
        self.last = ""  # the entry that was written last, as `moments` names it

    def play(self, name: str, *args: int) -> None:
        self.shop.now_ms += 1
        before = self.shop.books.marks[self.shop.partition]
        super().play(name, *args)
        if (mark := self.shop.books.marks[self.shop.partition]) != before:
            self.last = f"{self.shop.partition}:{mark.epoch}-{mark.n}"

    def give(self, coins: int, diamonds: int, creator: int, day: int) -> None:
        super().give(coins, diamonds, creator, 0)

    def wait(self, days: int) -> None:
        self.shop.now_ms += days * limits.DAY_MS // 2

    # --- payouts -------------------------------------------------------------------------------------------------
    def hold(self, creator: int, most: int) -> None:
        """As an order of a payout: what it holds is available in the transaction that holds it."""
        name = self.creators[creator]
        with self.shop.books.engine.begin() as connection:
            pen.lock(connection)
            diamonds = min(most, read(connection, name, self.shop.now_ms).available)
            if diamonds:
                id = self._id()
                self._write(connection, HoldEntry(id=id, creator=name, diamonds=diamonds))
                self.payouts[id] = "held", name, diamonds

    def release(self, which: int) -> None:
        self._go_on(which, "held", "released", ReleaseEntry)

    def paid(self, which: int) -> None:
        self._go_on(which, "held", "paid", PaidEntry, provider="bank", money=EUROS)

    def returned(self, which: int) -> None:
        self._go_on(which, "paid", "returned", ReturnEntry, provider="bank", money=EUROS)

    def _go_on(self, which: int, state: str, then: str, kind: Any, **more: Any) -> None:
        if some := [id for id, (was, _, _) in self.payouts.items() if was == state]:
            id = some[which % len(some)]
            _, creator, diamonds = self.payouts[id]
            self._book(kind(id=id, creator=creator, diamonds=diamonds, **more))
            self.payouts[id] = then, creator, diamonds

    def write_off(self, creator: int, diamonds: int) -> None:
        name = self.creators[creator]
        self._book(WriteOffEntry(id=self._id(), creator=name, diamonds=diamonds, salt="s", by="olga", reason="r"))
        self.adjusted[name] += diamonds

    def correct(self, creator: int, diamonds: int) -> None:
        name = self.creators[creator]
        moves = Move("diamonds", f"creator:{name}", -diamonds), Move("diamonds", "house:corrected", diamonds)
        self._book(CorrectionEntry(id=self._id(), creator=name, moves=moves, salt="s", by="olga", reason="r"))
        self.adjusted[name] -= diamonds

    def _id(self) -> str:
        return f"{self.shop.user}-p{next(self.numbers)}"

    def _book(self, entry: Struct) -> None:
        with self.shop.books.engine.begin() as connection:
            self._write(connection, entry)

    def _write(self, connection: Any, entry: Struct) -> None:
        mark = pen.write(connection, entry, self.shop.now_ms)
        self.last = f"{limits.BOOKS}:{mark.epoch}-{mark.n}"

    # --- what must be so -----------------------------------------------------------------------------------------
    def expected(self, creator: str, at_ms: int) -> tuple[int, ...]:
        """The figures by what was done: pending, available, held, paid, debt, credited, taken back, adjusted."""
        journaled = [order for order in self.shop.orders if order not in self.shop.under_way]
        taken: Counter[str] = Counter()
        for order in journaled:
            taken.update({part.gift_id: part.diamonds for part in order.decision.reversed})
        mine = [gift for gift in self.shop.gifts.values() if gift.creator_id == creator]
        today = at_ms // limits.DAY_MS
        credited, lost = sum(gift.diamonds for gift in mine), sum(taken[gift.ref] for gift in mine)
        pending = sum(gift.diamonds - taken[gift.ref] for gift in mine if gift.day + gift.maturity_days >= today)
        sums = Counter[str]()
        for state, of, diamonds in self.payouts.values():
            sums[state] += diamonds if of == creator else 0
        rest = credited - lost - pending + self.adjusted[creator] - sums["held"] - sums["paid"]
        split = pending, max(0, rest), sums["held"], sums["paid"], max(0, -rest)
        return (*split, credited, lost, self.adjusted[creator])


def told(figures: Figures) -> tuple[int, ...]:
    """The figures, after a look at what holds of all of them."""
    of = figures
    assert of.credited - of.taken_back + of.adjusted == of.pending + of.available + of.held + of.paid - of.debt
    assert sum(each.diamonds for each in of.ripens) == of.pending
    assert min(of.available, of.held, of.paid, of.debt) >= 0
    assert not (of.available and of.debt)
    return (of.pending, of.available, of.held, of.paid, of.debt, of.credited, of.taken_back, of.adjusted)


@pytest.fixture
def engine(journal: str) -> Iterator[Engine]:
    made = database.connect(journal)
    yield made
    made.dispose()


def test_any_history(engine: Engine) -> None:
    """After each step the figures are those of a plain model, and later as of each step, too."""
    users = itertools.count()

    @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck])
    @given(HISTORIES)
    def play(history: list[tuple[Any, ...]]) -> None:
        story = Paid(Shop(Books(engine), f"paid{next(users)}"))
        for coins in (9, 9, 9, 9):
            story.play("buy", coins)
        seen: dict[str, dict[str, tuple[int, ...]]] = {}
        for step in [("give", 8, 20, 0, 0), ("give", 8, 20, 1, 0), ("wait", 9), *history]:
            story.play(*step)
            now_ms = story.shop.now_ms
            with reading(engine).connect() as connection:
                found = {name: told(read(connection, name, now_ms)) for name in story.creators}
            assert found == {name: story.expected(name, now_ms) for name in story.creators}, step
            seen.setdefault(story.last, found)
        _as_of_each(engine, story, seen)

    play()
    with engine.connect() as connection:
        assert verify(connection, limits.BOOKS).wrong == []
    assert drifts(engine) == []


def _as_of_each(engine: Engine, story: Paid, seen: dict[str, dict[str, tuple[int, ...]]]) -> None:
    with reading(engine).connect() as connection:
        for entry, found in seen.items():
            at = moment(connection, entry)
            assert at is not None
            assert {name: told(read(connection, name, 0, at)) for name in story.creators} == found, entry


def test_moments() -> None:
    """A day has its last millisecond, and days that do not exist are refused."""
    assert end_of_day("1970-01-02") == Moment(2 * limits.DAY_MS - 1)
    assert (end_of_day("1970-01-02").first_day, Moment(5, (1, 1, 1)).first_day) == (2, 0)
    for text in ("2026-02-30", "1969-12-31", "2026-1-1", "", "x"):
        with pytest.raises(ValueError, match=r".*"):
            end_of_day(text)
