"""The rules that flag a payout, and that a flag brings it before a person."""

import pytest
from sqlalchemy import update

from server.journal.tables import topups
from server.payouts import bounds
from server.payouts.risk import Bought, Given, fresh, one_fan, shared_funding
from server.payouts.states import State
from tests.payouts.house import METHOD, House

GIFTS = [Given("a", 50, 1_000_000), Given("b", 50, 2_000_000)]


@pytest.mark.parametrize(
    ("bought", "flagged"),
    [
        ([], False),
        ([Bought("a", "s", 1_000_000 - bounds.FRESH_MS)], False),
        ([Bought("a", "s", 999_999), Bought("b", "s", 2_000_000 - bounds.FRESH_MS - 1)], False),
        ([Bought("a", "s", 999_999), Bought("b", "s", 2_000_000)], True),
        ([Bought("a", "s", 1_000_001), Bought("b", "s", 2_000_001)], False),
    ],
)
def test_fresh_topups(bought: list[Bought], flagged: bool) -> None:
    """More than half of it was given within minutes of a top-up."""
    assert fresh(GIFTS, bought) is flagged


@pytest.mark.parametrize(("most", "flagged"), [(80, False), (81, True)])
def test_one_fan(most: int, flagged: bool) -> None:
    """More than 80 % came from one viewer; of nothing none did."""
    assert one_fan([Given("a", most, 0), Given("b", 100 - most, 0)]) is flagged
    assert one_fan([]) is False


@pytest.mark.parametrize(
    ("sources", "flagged"),
    [
        ({"a": "card:1", "b": "card:2"}, False),
        ({"a": "card:1", "b": "card:1"}, True),
        ({"a": "shop", "b": "shop"}, False),
        ({"a": "card:1", "ann": "card:1"}, True),
        ({"c": "card:1", "d": "card:1"}, False),
    ],
)
def test_shared_funding(sources: dict[str, str], flagged: bool) -> None:
    """Fans who pay with the creator's instrument, or with one another's, are a ring. A channel alone says nothing."""
    assert shared_funding("ann", GIFTS, [Bought(who, source, 0) for who, source in sources.items()]) is flagged


def test_flags_are_on_the_payout(house: House) -> None:
    """A new creator with one fan, whose gifts follow top-ups at once, is looked at, though the amount is small."""
    house.requests = house.make_requests(review=10**9)
    house.earn(fans=1, days_ago=20)
    house.shops["fan0-ann"].buy(10)
    payout = house.ask()
    assert payout.flags == ["one_fan", "new_account"]
    assert payout.state is State.REVIEWING
    assert house.acts()[1].reason == "one_fan, new_account"


def test_an_old_creator_with_many_fans(house: House) -> None:
    """Nothing is flagged; another account than before is, and many payouts in a week are."""
    house.requests = house.make_requests(review=10**9)
    house.earn(diamonds=6_000, days_ago=60)
    for n in range(bounds.VELOCITY_MAX):
        assert house.ask(id=f"p{n}").flags == []
        house.round()
        house.webhook(house.bank.becomes(house.payout(f"p{n}").key, "paid"))
    other = type(METHOD)("service", "Ann Example", account="acct_2")
    assert house.ask(id="p9", method=other).flags == ["velocity", "other_account"]


def test_money_that_passes_through(house: House) -> None:
    """The journal's own rows are read: three fans who buy, give at once, and pay with one card."""
    house.requests = house.make_requests(review=10**9)
    house.earn(diamonds=1_000, days_ago=60)
    house.earn(diamonds=300, days_ago=0)
    with house.engine.begin() as connection:
        connection.execute(update(topups).values(source="card:7"))
    assert house.ask().flags == ["fresh_topups", "shared_funding"]
