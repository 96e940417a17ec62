"""What people have given in a lifetime follows the ledger, and each level comes once, in both databases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, delete

from server.journal import database, givers
from server.journal.tables import givers as table
from tests.journal.shop import Books, Shop


@pytest.fixture
def engine(journal: str) -> Iterator[Engine]:
    """The journal."""
    made = database.connect(journal)
    yield made
    made.dispose()


def level_of(coins: int) -> int:
    """A level for each hundred coins."""
    return coins // 100


def coins_of(engine: Engine, user: str) -> int:
    return givers.given(engine, [user])[user].coins


def claim(engine: Engine, room: str, user: str) -> tuple[int, bool]:
    """The level that is written down, and whether the room is to tell it."""
    found = givers.claim(engine, room, [user], level_of, 1)[user]
    return found.level, found.room_id == room


def test_the_sum_follows_gifts_refunds_and_chargebacks(engine: Engine) -> None:
    """A reversal counts once it is journaled; with a row, without it, and with an old one the sum is the same."""
    shop = Shop(Books(engine), "cleo")
    assert coins_of(engine, "cleo") == 0
    topup = shop.buy(1_000)
    first = shop.give(300, 100, "creator")
    assert coins_of(engine, "cleo") == 300
    assert claim(engine, "demo", "cleo") == (3, True)
    shop.give(150, 10, "other")
    assert coins_of(engine, "cleo") == 450
    shop.refund(first)
    assert coins_of(engine, "cleo") == 450
    shop.journal()
    assert coins_of(engine, "cleo") == 150
    shop.charge_back(topup)
    shop.journal()
    assert coins_of(engine, "cleo") == 0
    with engine.begin() as connection:
        connection.execute(delete(table))
    assert coins_of(engine, "cleo") == 0
    assert coins_of(engine, "nobody") == 0


def test_a_level_is_told_once(engine: Engine) -> None:
    """In the first room; again in that one until it has heard; not after a refund and new gifts."""
    shop = Shop(Books(engine), "cleo")
    shop.buy(1_000)
    gift = shop.give(250, 1, "creator")
    assert claim(engine, "demo", "cleo") == (2, True)
    assert claim(engine, "other", "cleo") == (2, False)
    assert claim(engine, "demo", "cleo") == (2, True)
    assert [each[:3] for each in givers.untold(engine, 2)] == [("cleo", 2, "demo")]
    givers.note_told(engine, [("cleo", 1)])  # a late note about another level
    assert claim(engine, "demo", "cleo") == (2, True)
    givers.note_told(engine, [("cleo", 2)])
    assert (claim(engine, "demo", "cleo"), givers.untold(engine, 2)) == ((2, False), [])
    shop.refund(gift)
    shop.journal()
    shop.give(220, 1, "creator")
    assert coins_of(engine, "cleo") == 220
    assert claim(engine, "demo", "cleo") == (2, False)
    shop.give(100, 1, "creator")
    assert claim(engine, "other", "cleo") == (3, True)


def test_many_gifts_are_added_up_at_times(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a look reads only those behind; without a new level, too."""
    monkeypatch.setattr(givers, "GIFTS_NEW", 3)
    shop = Shop(Books(engine), "cleo")
    shop.buy(1_000)
    shop.give(100, 1, "creator")
    claim(engine, "demo", "cleo")
    for _ in range(3):
        shop.give(1, 1, "creator")
    assert givers.given(engine, ["cleo"])["cleo"].new == 3
    claim(engine, "demo", "cleo")
    found = givers.given(engine, ["cleo"])["cleo"]
    assert (found.coins, found.new) == (103, 0)


def test_two_nodes_at_once(engine: Engine) -> None:
    """Two rooms claim the same new levels many times: each level has one room."""
    shop = Shop(Books(engine), "cleo")
    shop.buy(10_000)
    with ThreadPoolExecutor(4) as pool:
        for level in range(1, 6):
            shop.give(100, 1, "creator")
            rooms = ("a", "b", "a", "b")
            found = list(pool.map(lambda room: (room, *claim(engine, room, "cleo")), rooms))
            assert {now for _, now, _ in found} == {level}
            assert len({room for room, _, mine in found if mine}) == 1
            givers.note_told(engine, [("cleo", level)])


def test_which_gifts_are_journaled(engine: Engine) -> None:
    """By giver and id: two people may use one id."""
    shop = Shop(Books(engine), "cleo")
    shop.buy(100)
    gift = shop.give(1, 1, "creator")
    assert givers.journaled(engine, [("cleo", gift), ("bob", gift), ("cleo", "other")]) == {("cleo", gift)}
    assert givers.journaled(engine, []) == set()
