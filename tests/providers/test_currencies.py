"""Amounts as people and banks write them, and the checks of bank accounts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.providers.currencies import read, written
from server.providers.iban import is_bic, is_iban


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1234, "EUR", "12.34"),
        (5, "EUR", "0.05"),
        (0, "EUR", "0.00"),
        (-5, "EUR", "-0.05"),
        (1234, "JPY", "1234"),
        (1234, "KRW", "1234"),
        (1234, "KWD", "1.234"),
        (5, "BHD", "0.005"),
        (2**53 - 1, "KWD", "9007199254740.991"),
    ],
)
def test_amounts_are_written(amount: int, currency: str, text: str) -> None:
    """Minor units get their point where ISO 4217 puts it."""
    assert written(amount, currency) == text


@given(st.integers(0, 2**60), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_amounts_are_read_back(amount: int, currency: str) -> None:
    """What was written is read as the same amount."""
    assert read(written(amount, currency), currency) == amount


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("1.234", "EUR"),
        ("1.0", "JPY"),
        ("", "EUR"),
        ("1e3", "EUR"),
        ("1,00", "EUR"),
        ("-1", "EUR"),
        ("١", "EUR"),
        (".5", "EUR"),
    ],
)
def test_no_amounts(text: str, currency: str) -> None:
    """Too many digits, other signs and other scripts are refused."""
    with pytest.raises(ValueError, match="is no amount"):
        read(text, currency)


def test_a_short_fraction_is_read() -> None:
    """1.5 EUR are 150 cents."""
    assert (read("1.5", "EUR"), read("7", "KWD")) == (150, 7000)


@pytest.mark.parametrize(
    ("iban", "right"),
    [
        ("DE89370400440532013000", True),
        ("GB82WEST12345698765432", True),
        ("DE89370400440532013001", False),
        ("DE98370400440532013000", False),
        ("de89370400440532013000", False),
        ("DE89 3704 0044 0532 0130 00", False),
        ("", False),
        ("DE89", False),
    ],
)
def test_ibans(iban: str, right: bool) -> None:
    """A mistyped or swapped digit shows."""
    assert is_iban(iban) is right


@pytest.mark.parametrize(("bic", "right"), [("COBADEFFXXX", True), ("COBADEFF", True), ("COBADE", False), ("", False)])
def test_bics(bic: str, right: bool) -> None:
    """8 or 11 characters."""
    assert is_bic(bic) is right
