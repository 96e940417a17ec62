"""The table of corruptions in the books: an audit finds each, and blames only the books."""

from typing import Any

from server.limits import BOOKS
from tests.journal.corruptions import AT_ONCE, COPY, DOUBLE, FULL, GIFT, Corruption, E
from tests.journal.corruptions import set_to as _set
from tests.journal.small import ALICE

B = f"partition = {BOOKS}"
PAID = f"{B} AND epoch = 1 AND n = 1"  # ann got money for 20 diamonds
DECIDED = f"{B} AND epoch = 1 AND n = 7"  # the last entry
HASH_OF_SIXTH = f"SELECT hash FROM entries WHERE {B} AND epoch = 1 AND n = 6"


def _in_books(where: str, *each: tuple[Any, ...]) -> list[Corruption]:
    return [Corruption(at_once, name, tuple(said), where, frozenset({BOOKS})) for at_once, name, *said in each]


CORRUPTIONS = [
    *_in_books(
        "1-1",
        (AT_ONCE, "more diamonds are paid", _set(E, PAID, diamonds="21")),
        (FULL, "a payout goes to somebody else", _set(E, PAID, creator_id="'eve'")),
        (FULL, "a payout has another id", _set(E, PAID, ref="'p9'")),
        (FULL, "a payment becomes a release", _set(E, PAID, kind="'payout_release'")),
        (FULL, "more money is paid", _set(E, PAID, body="REPLACE(body, '480', '481')")),
        (AT_ONCE, "a payment is of another day", _set(E, PAID, at_ms="at_ms - 86400000")),
        (FULL, "a payment has another hash", _set(E, PAID, hash="'0'")),
        (AT_ONCE, "money is changed", _set("legs", f"{PAID} AND leg = 2", amount="amount - 1")),
        (FULL, "money is of another currency", _set("legs", f"{PAID} AND leg = 2", asset="'money:JPY'")),
        (FULL, "money went elsewhere", _set("legs", f"{PAID} AND leg = 6", account="'provider:eve'")),
        (AT_ONCE, "a payment has no legs", f"DELETE FROM legs WHERE {PAID}"),
        (AT_ONCE, "a payment's legs are doubled", f"INSERT INTO legs SELECT {DOUBLE} FROM legs WHERE {PAID}"),
    ),
    *_in_books(
        "1-2",
        (AT_ONCE, "a payment is deleted", f"DELETE FROM entries WHERE {PAID}", f"DELETE FROM legs WHERE {PAID}"),
    ),
    *_in_books("1-7", (AT_ONCE, "the last decision is deleted", f"DELETE FROM entries WHERE {DECIDED}")),
    *_in_books(
        "1-8",
        (
            AT_ONCE,
            "a decision is invented",
            f"INSERT INTO entries SELECT partition, 1, 8, {COPY} FROM entries WHERE {DECIDED}",
        ),
    ),
    *_in_books("1-7", (FULL, "why it was decided", _set(E, DECIDED, text="REPLACE(text, 'typed', 'paid')"))),
    *_in_books(
        "1-7",
        (AT_ONCE, "the books' watermark is deleted", f"DELETE FROM watermarks WHERE {B}"),
        (AT_ONCE, "the books' watermark is moved back", f"UPDATE watermarks SET n = 1 WHERE {B}"),
    ),
    *_in_books(
        "creator:eve",
        (AT_ONCE, "the books have a position", f"INSERT INTO positions VALUES ({BOOKS}, 'creator:eve', 9)"),
    ),
    *_in_books("1-0", (AT_ONCE, "the books are burnt", f"DELETE FROM entries WHERE {B}")),
    Corruption(
        AT_ONCE,
        "a gift is moved to the books",
        (_set(E, GIFT, partition=str(BOOKS), n="99"),),
        "1-4",
        frozenset({ALICE, BOOKS}),
    ),
]

# Only who remembers the books knows of it: nothing else in SQL is about this decision.
CUT = (
    f"DELETE FROM entries WHERE {DECIDED}",
    f"DELETE FROM legs WHERE {DECIDED}",
    f"UPDATE watermarks SET n = 6, hash = ({HASH_OF_SIXTH}) WHERE {B}",
)
