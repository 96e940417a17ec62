"""Rate cards: what is computed by them, and files that cannot be used."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import limits, rates
from server.currencies import EXPONENTS, LISTED
from server.rates import DEFAULT, Card, Deducted, Fee, Price, RateCards, Rates, Share, Worth
from server.settings import Unusable

CARD = """
version = "2026-01"
[regions.default]
currency = "EUR"
money = { diamonds = 200, minor = 90 }
maturity_days = 14
processing_days = 5
minimum = 1000
daily_max = 100000
weekly_max = 200000
fee = { fixed = 25, basis_points = 150, most = 500 }
withholding = { w9 = 0, other = 2400 }
time_zone = "Europe/Berlin"
[regions.JP]
currency = "JPY"
share = { coins = 100, diamonds = 45 }
money = { diamonds = 10, minor = 7 }
maturity_days = 21
processing_days = 3
minimum = 500
daily_max = 50000
weekly_max = 50000
"""

parts = st.integers(1, limits.RATE_PART_MAX)
points = st.integers(0, limits.BASIS_POINTS)
amounts = st.integers(0, limits.MONEY_MAX)


def some_rates(**more: object) -> Rates:
    """Rates that say only what a test is about."""
    rest = {"maturity_days": 0, "processing_days": 0, "minimum": 1, "daily_max": 1, "weekly_max": 1}
    return Rates(**{"currency": "EUR", "money": Price(1, 1), **rest, **more})  # type: ignore[arg-type]


def written(tmp_path: Path, text: str = CARD) -> Path:
    path = tmp_path / "rates.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    return path


# --- arithmetic ------------------------------------------------------------------------------------------------------
@given(diamonds=st.integers(0, 2**53), per=parts, minor=parts)
def test_diamonds_are_worth_what_the_fraction_says(diamonds: int, per: int, minor: int) -> None:
    """Nothing is lost: the amount and its rest are the exact worth. The spare diamonds are exactly those not needed."""
    paid = some_rates(money=Price(per, minor))
    worth = paid.money_of(diamonds)
    assert worth.amount * per + worth.rest == diamonds * minor
    assert 0 <= worth.rest < per
    needed = diamonds - worth.spare
    assert worth.spare >= 0
    assert paid.money_of(needed).amount == worth.amount
    assert paid.diamonds_for(worth.amount) == needed
    assert needed == 0 or paid.money_of(needed - 1).amount < worth.amount


@given(one=st.integers(0, 2**50), other=st.integers(0, 2**50), per=parts, minor=parts)
def test_splitting_a_payout_never_pays_more(one: int, other: int, per: int, minor: int) -> None:
    """Two payouts bring at most what one of the same diamonds brings, and more diamonds never bring less."""
    paid = some_rates(money=Price(per, minor))
    apart = paid.money_of(one).amount + paid.money_of(other).amount
    assert apart <= paid.money_of(one + other).amount <= apart + 1


@given(gross=amounts, fixed=amounts, fee=points, most=st.none() | amounts, withheld=points)
def test_deductions_add_up(gross: int, fixed: int, fee: int, most: int | None, withheld: int) -> None:
    """Withheld, fee and rest are the whole, and no more is taken than the card says."""
    paid = some_rates(fee=Fee(fixed, fee, most), withholding={"w8": withheld})
    found = paid.deducted(gross, "w8")
    assert found.gross == gross == found.withheld + found.fee + found.net
    assert 0 <= found.withheld <= gross * withheld / limits.BASIS_POINTS
    assert fixed <= found.fee <= fixed + min(gross * fee / limits.BASIS_POINTS, gross if most is None else most)
    assert paid.deducted(gross, "w9").withheld == 0


@given(coins=st.integers(0, 10**9), share=st.builds(Share, parts, st.integers(0, limits.RATE_PART_MAX)))
def test_a_share_rounds_down(coins: int, share: Share) -> None:
    """A gift's diamonds are at most the share of its price, and less than one below it."""
    found = some_rates(share=share).diamonds_of(coins, 5)
    assert 0 <= coins * share.diamonds - found * share.coins < share.coins


def test_figures_by_hand(tmp_path: Path) -> None:
    """What the card above says, computed by hand: EUR with cents, JPY without."""
    cards = RateCards(rates.load(written(tmp_path)))
    euro, yen = cards.terms("DE"), cards.terms("JP")
    assert (euro.id, yen.id) == ("2026-01/default", "2026-01/JP")
    assert cards.terms(None) == euro
    assert (euro.rates.exponent, yen.rates.exponent) == (2, 0)
    assert euro.rates.money_of(12_345) == Worth(5_555, 50, 0)
    assert euro.rates.money_of(12_347) == Worth(5_556, 30, 0)
    assert yen.rates.money_of(1_001) == Worth(700, 7, 1)
    assert (euro.rates.diamonds_of(199, 77), yen.rates.diamonds_of(199, 77)) == (77, 89)
    assert euro.rates.deducted(5_555, "w9") == Deducted(5_555, 0, 108, 5_447)
    assert euro.rates.deducted(100_000, "unheard_of") == Deducted(100_000, 24_000, 525, 75_475)
    assert yen.rates.deducted(700, "w9") == Deducted(700, 0, 0, 700)


def test_currencies_have_their_digits() -> None:
    """Those that are mistaken most often, and that each is listed once."""
    assert [EXPONENTS[code] for code in ("JPY", "KRW", "EUR", "HUF", "KWD", "BHD", "TND")] == [0, 0, 2, 2, 3, 3, 3]
    listed = [code for codes in LISTED.values() for code in codes.split()]
    assert len(listed) == len(set(listed)) == len(EXPONENTS)


# --- files -----------------------------------------------------------------------------------------------------------
def test_the_program_has_a_card() -> None:
    """Without a file there is one. It leaves gifts' diamonds to the catalogue, and their maturity as it always was."""
    card = rates.load(None)
    assert set(card.regions) == {DEFAULT}
    assert card.regions[DEFAULT].share is None
    assert card.regions[DEFAULT].maturity_days == limits.MATURITY_DAYS


def test_equal_cards_have_the_same_hash(tmp_path: Path) -> None:
    """The order in the file does not count, another rate does."""
    card = rates.load(written(tmp_path))
    head, default, japan = CARD.replace("[regions", "\0[regions").split("\0")
    same = rates.load(written(tmp_path, head + japan + default))
    other = rates.load(written(tmp_path, CARD.replace("minor = 7", "minor = 8")))
    assert card.hash == same.hash != other.hash
    assert Card("2026-01", dict(reversed(card.regions.items()))).hash == card.hash


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("[regions.default]", "[regions.DE]", "no rates for the region default"),
        ("[regions.JP]", "[regions.Japan]", "regions"),
        ('version = "2026-01"', "", "version"),
        ('version = "2026-01"', 'version = "a/b"', "version"),
        ('"EUR"', '"EUX"', "EUX"),
        ("minor = 90", "minor = 0", "Expected `int` >= 1"),
        ("minor = 90", "minor = 0.9", "Expected `int`"),
        ("diamonds = 200", "diamonds = 10000000", "Expected `int` <="),
        ("minimum = 1000", "minimun = 1000", "minimun"),
        ("minimum = 1000", "minimum = 100001", "must rise"),
        ("daily_max = 100000", "daily_max = 300000", "must rise"),
        ("fixed = 25", "fixed = 990", "nothing is left"),
        ("other = 2400", "other = 10000", "nothing is left"),
        ("w9 = 0", "w9 = 10001", "Expected `int` <= 10000"),
        ("Europe/Berlin", "Europe/Bonn", "Europe/Bonn"),
        ("Europe/Berlin", "../Berlin", "../Berlin"),
        ("currency", "\udcff", "codec"),
        ("[regions.default]", "[regions.default", "Expected"),
    ],
)
def test_a_card_that_cannot_be_used(tmp_path: Path, old: str, new: str, why: str) -> None:
    """It is refused in one sentence with its path."""
    assert old in CARD
    path = written(tmp_path, CARD.replace(old, new))
    with pytest.raises(Unusable, match=r"^The rate card .*rates\.toml cannot be used: .*\.$") as refused:
        rates.load(path)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_card_that_is_not_there(tmp_path: Path) -> None:
    """The path is named once."""
    with pytest.raises(Unusable, match=r"No such file"):
        rates.load(tmp_path / "none.toml")
