"""Parts, days and kept lots: exact after any history, derivable from entries alone, and rebuilt after a loss."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from server import limits
from server.clock import Clock
from server.journal import database, derived, folding
from server.journal.database import reading
from server.journal.earnings import Earnings, Figures
from server.journal.parts import PartRow
from server.journal.tables import creator_days, lot_snapshots, reversal_parts
from server.orders.rows import NotYet
from server.processes import journal as process
from tests.journal.desk import drifts
from tests.journal.shop import NOW_MS, Books, Shop
from tests.stores import settings as site_settings

CREATORS = ("ann", "ben", "cid")


@pytest.fixture
def engine(journal: str) -> Iterator[Engine]:
    """An empty journal's database."""
    made = database.connect(journal)
    yield made
    made.dispose()


def parts_in(engine: Engine, user: str) -> list[PartRow]:
    with reading(engine).connect() as connection:
        return sorted(PartRow(*row) for row in connection.execute(select(reversal_parts)) if row.user_id == user)


async def earned(engine: Engine, creator: str, days_later: int = 0) -> Figures:
    return await Earnings(engine, Clock(lambda: (NOW_MS + days_later * limits.DAY_MS) / 1000)).of(creator)


MATURITIES = (None, 0, 30, 5)  # of gifts of an older program, and of different rate cards


# --- any history -----------------------------------------------------------------------------------------------------
GIVE = st.tuples(st.just("give"), st.integers(2, 9), st.integers(0, 25), st.integers(0, 2), st.integers(0, 9))
REVERSE = st.tuples(st.sampled_from(["refund", "charge_back", "charge_back"]), st.integers(0, 9))
STEPS = st.one_of(
    GIVE,
    GIVE,
    REVERSE,
    REVERSE,
    st.tuples(st.just("buy"), st.integers(1, 9)),
    st.tuples(st.just("journal"), st.integers(0, 9)),
)
LOTS = st.lists(st.tuples(st.just("buy"), st.integers(1, 4)), min_size=4, max_size=8)  # smaller than most gifts
HISTORIES = st.tuples(LOTS, st.lists(GIVE, min_size=1, max_size=4), st.lists(STEPS, min_size=4, max_size=20))


class Story:
    """Plays steps at a shop. Creators are of this story alone, so that many stories can share a database."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.creators = [f"{name}-of-{shop.user}" for name in CREATORS]

    def play(self, name: str, *args: int) -> None:
        getattr(self, name)(*args)

    def buy(self, coins: int) -> None:
        self.shop.buy(coins)

    def give(self, coins: int, diamonds: int, creator: int, day: int) -> None:
        """A frozen wallet gives nothing."""
        frozen = any(order.kind == "chargeback" for order in self.shop.under_way)
        if (coins := min(coins, self.shop.coins)) and not frozen:
            at_ms = self.shop.now_ms - day * limits.DAY_MS
            ripens = MATURITIES[(coins + diamonds) % len(MATURITIES)]
            self.shop.give(coins, diamonds, self.creators[creator], at_ms, ripens)

    def refund(self, which: int) -> None:
        if gifts := list(self.shop.gifts):
            try:
                self.shop.refund(gifts[which % len(gifts)])
            except NotYet:
                assert self.shop.under_way

    def charge_back(self, which: int) -> None:
        if topups := list(self.shop.topups):
            self.shop.charge_back(topups[which % len(topups)])

    def journal(self, which: int) -> None:
        if self.shop.under_way:
            self.shop.journal(which)

    def end(self) -> None:
        while self.shop.under_way:
            self.shop.journal()

    def taken(self) -> tuple[Counter[str], Counter[str]]:
        coins, diamonds = Counter[str](), Counter[str]()
        for order in self.shop.orders:
            for part in order.decision.reversed:
                coins[part.gift_id] += part.coins
                diamonds[part.gift_id] += part.diamonds
        return coins, diamonds

    def assert_parts(self) -> None:
        """Together they take their share of each gift, rounded down; each gift and each coin at most once."""
        coins, diamonds = self.taken()
        for gift in self.shop.gifts.values():
            assert 0 <= coins[gift.ref] <= gift.coins
            assert diamonds[gift.ref] == gift.diamonds * coins[gift.ref] // gift.coins

    async def assert_earnings(self) -> None:
        """The equation holds for each creator, at every moment of the gifts' maturing."""
        _, diamonds = self.taken()
        for creator, later in itertools.product(self.creators, (0, 4, 8, 31)):
            told = await earned(self.shop.books.engine, creator, later)
            mine = [gift for gift in self.shop.gifts.values() if gift.creator_id == creator]
            today = NOW_MS // limits.DAY_MS + later
            net = {gift.ref: gift.diamonds - diamonds[gift.ref] for gift in mine}
            unripe = sum(net[gift.ref] for gift in mine if gift.day + gift.maturity_days >= today)
            assert (told.pending, told.available, told.debt) == (unripe, sum(net.values()) - unripe, 0)
            assert told.credited == sum(gift.diamonds for gift in mine)
            assert told.credited - told.taken_back == sum(net.values())


async def _play(engine: Engine, user: str, steps: list[tuple[Any, ...]]) -> None:
    story = Story(Shop(Books(engine), user))
    for step in steps:
        story.play(*step)
        story.assert_parts()
    story.end()
    await story.assert_earnings()
    assert drifts(engine, user) == []
    for topup in story.shop.topups:
        story.shop.charge_back(topup)
    story.end()
    await story.assert_earnings()
    coins, diamonds = story.taken()
    for gift in story.shop.gifts.values():
        assert (coins[gift.ref], diamonds[gift.ref]) == (gift.coins, gift.diamonds)
    assert story.shop.coins == 0
    assert drifts(engine, user) == []


@settings(
    max_examples=12,
    phases=[Phase.generate],  # an example is a long story in SQL: shrinking one takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(HISTORIES)
async def test_any_history(engine: Engine, history: tuple[list[tuple[Any, ...]], ...]) -> None:
    """Any order of top-ups, gifts and reversals: all figures add up, and all that is reversed gives back everything."""
    await _play(engine, f"cleo{next(_NUMBERS)}", [step for part in history for step in part])


_NUMBERS = itertools.count()


# --- derived from entries alone --------------------------------------------------------------------------------------
def a_history(engine: Engine) -> Shop:
    """Two top-ups pay for one gift. Both are charged back at once, and the second is journaled first."""
    shop = Shop(Books(engine), "cleo")
    first, second, _ = shop.buy(10), shop.buy(10), shop.buy(50)
    shop.give(15, 8, "ann")
    refunded = shop.give(6, 3, "ben", NOW_MS - 8 * limits.DAY_MS)
    shop.refund(refunded)
    shop.journal()
    assert shop.charge_back(first)
    assert shop.charge_back(second)
    shop.journal(1)
    shop.journal(0)
    return shop


async def test_two_at_once_take_back_exactly(engine: Engine) -> None:
    """Decided parts count, journaled or not: two chargebacks of one gift take its diamonds together."""
    shop = a_history(engine)
    taken = [(row.kind, row.coins, row.diamonds) for row in parts_in(engine, "cleo")]
    assert taken == [("chargeback", 10, 5), ("chargeback", 5, 3), ("refund", 6, 3)]
    assert shop.coins == 50
    assert await earned(engine, "ann") == Figures("ann", 0, 0, 0, 0, 0, credited=8, taken_back=8)
    assert drifts(engine) == []


def emptied(engine: Engine, table: str) -> None:
    """Delete all rows, also of a table that is insert-only."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_no_delete"))
        else:
            connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_insert_only ON {table}"))
        connection.execute(text(f"DELETE FROM {table}"))


async def test_a_rebuild(engine: Engine) -> None:
    """Lost parts, changed days and kept lots come again from the entries; what is there stays."""
    a_history(engine)
    parts, figures = parts_in(engine, "cleo"), await earned(engine, "ann")
    emptied(engine, "reversal_parts")
    with engine.begin() as connection:
        connection.execute(update(creator_days).values(credited=1_000_000))
    folding.keep(engine, "cleo", folding.fold(engine, "cleo"))
    found = {(drift.table, drift.user_id) for drift in drifts(engine)}
    assert found == {("reversal_parts", "cleo"), ("creator_days", None)}
    assert derived.rebuild(engine) == derived.Rebuilt(days=2, parts=3)
    assert (parts_in(engine, "cleo"), await earned(engine, "ann")) == (parts, figures)
    assert drifts(engine) == []
    assert derived.rebuild(engine) == derived.Rebuilt(days=2, parts=0)


async def test_a_reversal_whose_parts_were_lost(engine: Engine) -> None:
    """A database that was restored lacks the parts of a reversal in the log: the drain derives them."""
    shop = Shop(Books(engine), "cleo")
    topup = shop.buy(100)
    gift = shop.give(30, 15, "ann", NOW_MS - 8 * limits.DAY_MS)
    shop.give(10, 5, "ben")
    shop.refund(gift)
    shop.journal()
    shop.charge_back(topup)
    parts = parts_in(engine, "cleo")
    emptied(engine, "reversal_parts")
    shop.journal()
    assert parts_in(engine, "cleo") == [row for row in parts if row.kind == "chargeback"]
    assert (await earned(engine, "ben")).taken_back == 5
    derived.rebuild(engine)
    assert (parts_in(engine, "cleo"), drifts(engine)) == (parts, [])


@pytest.mark.parametrize("statement", ["UPDATE reversal_parts SET coins = 1", "DELETE FROM reversal_parts"])
async def test_parts_are_insert_only(engine: Engine, statement: str) -> None:
    a_history(engine)
    with pytest.raises(DBAPIError, match="insert-only"), engine.begin() as connection:
        connection.execute(text(statement))


# --- what an audit must find -----------------------------------------------------------------------------------------
def _invented(connection: Any) -> None:
    connection.execute(
        insert(reversal_parts).values(
            user_id="cleo",
            kind="refund",
            reversal="x",
            gift="x",
            creator="ann",
            gift_day=1000,
            coins=1,
            diamonds=1,
            maturity_days=7,
        )
    )


def _another_creator(connection: Any) -> None:
    connection.execute(update(creator_days).where(creator_days.c.creator == "ann").values(creator="eve"))


def _one_more_gift(connection: Any) -> None:
    connection.execute(update(creator_days).where(creator_days.c.creator == "ann").values(gifts=2))


def _less_taken(connection: Any) -> None:
    connection.execute(update(creator_days).where(creator_days.c.creator == "ben").values(taken_back=0))


def _no_day(connection: Any) -> None:
    connection.execute(delete(creator_days).where(creator_days.c.creator == "ben"))


def _a_day_too_many(connection: Any) -> None:
    row = {"creator": "zoe", "gift_day": 7, "maturity_days": 7, "credited": 5, "taken_back": 0, "gifts": 1}
    connection.execute(insert(creator_days).values(row))


def _other_lots(connection: Any) -> None:
    connection.execute(update(lot_snapshots).values(lots=folding.encode(folding.Lots())))


@pytest.mark.parametrize(
    ("change", "table"),
    [
        (_invented, "reversal_parts"),
        (_another_creator, "creator_days"),
        (_one_more_gift, "creator_days"),
        (_less_taken, "creator_days"),
        (_no_day, "creator_days"),
        (_a_day_too_many, "creator_days"),
        (_other_lots, "lot_snapshots"),
    ],
)
async def test_what_was_changed_is_found(engine: Engine, change: Any, table: str) -> None:
    """A row of a derived table that no entry explains is found, and named."""
    a_history(engine)
    folding.keep(engine, "cleo", folding.fold(engine, "cleo"))
    assert drifts(engine) == []
    with engine.begin() as connection:
        change(connection)
    assert {drift.table for drift in drifts(engine)} == {table}


# --- kept lots -------------------------------------------------------------------------------------------------------
async def test_lots_are_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fold of many entries keeps the lots, and the next one reads only new entries. Older lots replace nothing."""
    monkeypatch.setattr(limits, "LOT_SNAPSHOT_ENTRIES", 5)
    shop = Shop(Books(engine), "cleo")
    topup = shop.buy(100)
    for _ in range(2):
        shop.give(1, 1, "ann")
    early = folding.fold(engine, "cleo")
    for _ in range(3):
        shop.give(1, 1, "ann")
    first, again = folding.fold(engine, "cleo"), folding.fold(engine, "cleo")
    assert (early.new, first.new, again.new) == (3, 6, 0)
    assert again.lots.lots == first.lots.lots
    assert again.at == first.at
    shop.give(7, 1, "ben")
    folding.keep(engine, "cleo", early)
    later = folding.fold(engine, "cleo")
    assert (later.new, later.lots.lots[topup].left) == (1, 88)
    assert drifts(engine) == []


async def test_the_command(engine: Engine, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`rebuild` writes the days again, and says how many."""
    a_history(engine)
    with engine.begin() as connection:
        connection.execute(delete(creator_days))
    url = engine.url.render_as_string(hide_password=False)
    assert process.rebuild(site_settings(tmp_path, LIVEROOM_JOURNAL_URL=url)) == 0
    assert capsys.readouterr().out.startswith("Written again: 2 days of creators, and 0 missing parts")
    assert drifts(engine) == []
