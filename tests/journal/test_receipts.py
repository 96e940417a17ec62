"""Receipts as the journal derives them: which must be there, what each must say, and what its key and text name."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.ids import uuid7, uuid7_ms
from server import limits
from server.clock import Clock
from server.entries import GIFT, LIMIT
from server.journal import receipts
from server.journal.compare import StoreSide
from server.journal.receipts import Left, Needed
from server.store import keys
from server.store.client import Store
from tests.conftest import Stores
from tests.site import WAIT_S, new_gift_id

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


async def test_many_are_read_at_once(stores: Stores) -> None:
    """Those of ten minutes, of an older program, of orders, and none. A key of another type counts as empty ones."""
    made = [uuid7(NOW_MS + after * limits.RECEIPTS_MS) for after in (0, 0, 1, 2)]
    partition = keys.partition_of("cleo")
    hashes = [keys.receipts(partition, uuid7_ms(each)) for each in made]
    assert hashes[0] == hashes[1] != hashes[2] != hashes[3]
    with stores.wallet.client() as look:
        look.hset(hashes[0], mapping={keys.receipts_field("cleo", made[n]): f"fp {n} 1-{n}" for n in (0, 1)})
        look.set(hashes[2], "not a hash")
        look.set(keys.receipt("cleo", made[3]), "fp 3 1-3")
        look.set(keys.receipt("cleo", "topup:t"), "fp 4 1-4")
    wallet = Store("wallet", f"unix://{stores.wallet.socket}")
    await wallet.start()
    await wallet.wait_up(WAIT_S)
    wanted = [("cleo", each) for each in (*made, uuid7(NOW_MS), "topup:t", "topup:u")]
    found = await StoreSide(wallet, Clock(time.time)).receipts(wanted)
    await wallet.stop()
    texts = {made[0]: "fp 0 1-0", made[1]: "fp 1 1-1", made[2]: "", made[3]: "fp 3 1-3", "topup:t": "fp 4 1-4"}
    assert found == {("cleo", operation): text for operation, text in texts.items()}


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
