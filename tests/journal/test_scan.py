"""The scan of the wallet store's keys: every wallet, counter and receipt is met, and what belongs nowhere is said."""

from collections.abc import AsyncIterator

import pytest

from server import limits
from server.journal import scan
from server.journal.scan import KeyScan, Names
from server.store import keys
from server.store.client import Store
from tests.conftest import Stores
from tests.site import WAIT_S

USER = "alice"
PARTITION = keys.partition_of(USER)
ELSEWHERE = next(f"u{n}" for n in range(999) if keys.partition_of(f"u{n}") != PARTITION)
TAG = f"{{{keys.PARTITION_TAGS[PARTITION]}}}"
GIFTS = [f"g{n}" for n in range(700)]  # more than a hash keeps in one piece


@pytest.fixture
async def money(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """A store with all kinds of keys, which is read in small steps."""
    monkeypatch.setattr(limits, "AUDIT_SCAN", 10)
    made = Store("wallet", f"unix://{stores.wallet.socket}")
    await made.start()
    await made.wait_up(WAIT_S)
    for user in (USER, ELSEWHERE):
        await made.call("HSET", keys.wallet(user), "c", 5)
        await made.call("SET", keys.credit(keys.partition_of(user), "ann"), 7)
        await made.call("SET", keys.receipt(user, "topup:t1"), "f 5 1-1")
    for gift in GIFTS:
        await made.call("HSET", keys.receipts(PARTITION, 0), keys.receipts_field(USER, gift), "f 5 0 1-1")
    await made.call("SET", keys.receipts(PARTITION, limits.RECEIPTS_MS), "of another type")
    await made.call("HSET", keys.receipts(PARTITION, 2 * limits.RECEIPTS_MS), keys.receipts_field(USER, "last"), "f")
    await made.call("HSET", f"{TAG}:w:{ELSEWHERE}", "c", 5)
    await made.call("SET", f"{TAG}:k:{ELSEWHERE}:topup:t1", "f")
    for odd in (f"{TAG}:w:".encode() + b"\xff", f"{TAG}:w:a\0b", f"{TAG}:log", "{another}:w:alice", keys.claim("t1")):
        await made.call("SET", odd, "x")
    yield made
    await made.stop()


def assert_whole(names: Names) -> None:
    """All of Alice's partition is met, and nothing else."""
    assert sorted(names.accounts) == ["creator:ann", f"viewer:{USER}"]
    assert sorted(names.receipts) == sorted([(USER, gift) for gift in [*GIFTS, "last", "topup:t1"]])
    what = f"a key of a user whose partition is {keys.partition_of(ELSEWHERE)}"
    assert sorted((wrong.partition, wrong.where, wrong.what) for wrong in names.wrong) == [
        (PARTITION, f"k:{ELSEWHERE}:topup:t1", what),
        (PARTITION, f"w:{ELSEWHERE}", what),
    ]


async def test_all_keys_of_one_partition(money: Store) -> None:
    """Whatever hides between them: of another type, unreadable, or of another partition."""
    assert_whole(await scan.of_partition(money, PARTITION))


async def test_a_turn_meets_everything(money: Store) -> None:
    """In one go, and in steps of a few keys; the next turn begins at its first key again."""
    keyscan = KeyScan(money)
    found = await keyscan.some(10**9, 5)
    assert_whole(found[PARTITION])
    assert (keyscan.turns, keyscan.turn.verified_ms) == (1, 5)
    whole = keyscan.turn.size
    met = Names()
    steps = 0
    while keyscan.turns == 1:
        for names in [(await keyscan.some(1, 6 + steps)).get(PARTITION, Names())]:
            met.accounts += names.accounts
            met.receipts += names.receipts
            met.wrong += names.wrong
        steps += 1
    assert_whole(met)
    assert steps >= 2  # the store's own hashes decide how many keys a step meets
    assert (keyscan.turn.verified_ms, keyscan.turn.size) == (6, whole)


async def test_a_turn_that_is_forgotten(money: Store) -> None:
    """It begins from the start."""
    keyscan = KeyScan(money)
    await keyscan.some(1, 5)
    keyscan.forget()
    assert_whole((await keyscan.some(10**9, 6))[PARTITION])
    assert (keyscan.turns, keyscan.turn.verified_ms) == (1, 6)
