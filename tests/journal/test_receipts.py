"""Receipts as the journal derives them: which must be there, what each must say, and what its key and text name."""

from types import SimpleNamespace
from typing import Any

import pytest

from server import limits
from server.entries import GIFT, LIMIT
from server.journal import receipts
from server.journal.receipts import Left, Needed
from tests.site import new_gift_id

NOW_MS = 1_000 * limits.DAY_MS


@pytest.mark.parametrize(
    ("text", "held", "agrees"),
    [
        ("fp 90 1-7", "fp 90 1-7", True),
        ("fp 90 1-7", "other 90 1-7", False),
        (" 90 1-7", "fp 90 1-7", True),  # the entry's text is erased, and the fingerprint with it
        (" 90 1-7", "fp 91 1-7", False),
    ],
)
def test_what_a_receipt_says(text: str, held: str, agrees: bool) -> None:
    """All of it counts; only an erased fingerprint is not compared."""
    assert Left("gift", text, NOW_MS, NOW_MS).agrees(held) is agrees


def test_which_receipts_must_be_there() -> None:
    """Those of gifts from `forgot` on, by the time in the id; those of orders as long as they may be repeated."""
    needed, old_ms = Needed(500, NOW_MS), NOW_MS - limits.RECOVER_UNTIL_MS
    gifts = [needed.has(Left("g", "", NOW_MS, made_ms)) for made_ms in (0, 499, 500, NOW_MS)]
    orders = [needed.has(Left("topup:t", "", at_ms, None)) for at_ms in (0, old_ms, old_ms + 1, NOW_MS)]
    assert gifts == orders == [False, False, True, True]


def test_an_older_programs_limit_leaves_none() -> None:
    """It gave no fingerprint."""
    row: Any = SimpleNamespace(kind=LIMIT.name, ref="l1", epoch=1, n=7, at_ms=5, balance=90, text=None, body="{}")
    assert receipts.of(row) is None
    row.body = '{"fp":"f"}'
    assert receipts.of(row) == Left("limit:l1", "f 90 1-7", 5, None)


def test_what_a_receipt_is_of() -> None:
    """An order's key names its kind, and hosts choose ids with colons; only whole numbers are a log id."""
    gift = new_gift_id()
    for operation, ref in ((gift, gift), ("topup:a:b", "a:b"), ("mine:a", "mine:a"), (f"{GIFT.name}", GIFT.name)):
        assert (receipts.ref_of(operation), receipts.is_of_gift(operation)) == (ref, ref == operation)
    texts: dict[str, Any] = {"fp 90 3 1-7": (1, 7), "fp 1-7 90": None, "1-": None, "-7": None, "1-\u00b2": None}
    assert {text: receipts.log_id_of(text) for text in texts} == texts
