"""Bank accounts: the checks that find a mistyped IBAN (ISO 13616, modulo 97 of ISO 7064) or BIC (ISO 9362)."""

import re

_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_BIC = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?")


def is_iban(text: str) -> bool:
    """Whether the check digits of an IBAN without blanks are right."""
    if not _IBAN.fullmatch(text):
        return False
    digits = "".join(str(int(letter, 36)) for letter in text[4:] + text[:4])
    return int(digits) % 97 == 1


def is_bic(text: str) -> bool:
    """Whether it has the form of a BIC."""
    return _BIC.fullmatch(text) is not None
