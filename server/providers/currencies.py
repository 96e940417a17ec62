"""Amounts of money as people and banks write them: with the point where ISO 4217 puts it."""

from server.currencies import EXPONENTS


def written(amount: int, currency: str) -> str:
    """An amount of minor units with its point: 1234 are 12.34 EUR, 1234 JPY and 1.234 KWD."""
    digits = EXPONENTS[currency]
    sign, text = "-" * (amount < 0), str(abs(amount)).rjust(digits + 1, "0")
    return f"{sign}{text[:-digits]}.{text[-digits:]}" if digits else sign + text


def read(text: str, currency: str) -> int:
    """The minor units of a written amount. Raises ValueError."""
    digits = EXPONENTS[currency]
    whole, point, rest = text.partition(".")
    if not (whole.isascii() and whole.isdecimal() and len(rest) <= digits):
        raise ValueError(f"{text!r} is no amount in {currency}")
    if point and not (rest.isascii() and rest.isdecimal()):
        raise ValueError(f"{text!r} is no amount in {currency}")
    return int(whole + rest.ljust(digits, "0"))
