"""What the store has beside what it must have: each account that differs is named, and no other."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from server.clock import Clock
from server.journal import correct
from server.journal.asof import CREATOR, VIEWER, Expected, Spent, Wallet
from server.journal.compare import (
    SCRIPTS,
    Held,
    Stored,
    StoreSide,
    accounts_differ,
    position,
    spending_differs,
    totals_differ,
)
from server.journal.sums import Sums
from server.store import keys
from server.store.client import Store
from tests.site import WAIT_S
from tests.stores import ValkeyProcess

NONE = Held(*[None] * len(Held._fields))
META = {"epoch": "3", "opened": "here", "frozen": None}


@pytest.fixture
async def money(own_store: ValkeyProcess) -> AsyncIterator[Store]:
    """A wallet store that nobody has opened."""
    made = Store("wallet", f"unix://{own_store.socket}", scripts=[*SCRIPTS, *correct.SCRIPTS])
    await made.start()
    await made.wait_up(WAIT_S)
    yield made
    await made.stop()


def held(**fields: str) -> Held:
    return NONE._replace(**fields)


def stored(**fields: object) -> Stored:
    empty = {"at": (3, 7), "meta": META, "wallets": {}, "counters": {}, "odd": []}
    return Stored(**{**empty, **fields})  # type: ignore[arg-type]


def expected(wallets: dict[str, Wallet] | None = None, counters: dict[str, int] | None = None) -> Expected:
    return Expected(Sums(), wallets or {}, counters or {})


def named(expected: Expected, stored: Stored) -> dict[str, str]:
    return {wrong.where: wrong.what for wrong in accounts_differ(5, expected, stored)}


def test_each_account_is_compared() -> None:
    """Nothing hides behind an account of which neither side knows anything."""
    wallets = {"nobody": NONE, "alice": held(coins="9"), "bob": NONE, "eve": held(coins="4"), "dan": held(coins="5")}
    counters = {"ann": "7", "ben": None, "cid": "3", "zoe": None, "kim": None}
    right = expected({"alice": Wallet(8), "bob": Wallet(2), "dan": Wallet(5)}, {"ann": 7, "ben": 1, "kim": 0})
    assert named(right, stored(wallets=wallets, counters=counters, odd=["viewer:odd"])) == {
        "viewer:odd": "the store has a key of another type",
        "viewer:alice": "the journal has 8, the store 9",
        "viewer:bob": "the journal has 2, the store no such wallet",
        "viewer:eve": "the store has 4, the journal no such wallet",
        "creator:ben": "the journal has 1, the store none",
        "creator:cid": "the store has 3, the journal no such counter",
    }


@pytest.mark.parametrize(
    ("wallet", "fields", "what"),
    [
        (Wallet(0), {}, ""),
        (Wallet(0), {"coins": "0", "status": "ok", "limit": "0"}, ""),
        (Wallet(3), {"status": "ok"}, "the journal has 3, the store 0"),
        (Wallet(3, "frozen"), {"coins": "3"}, "its entries say that it is frozen, the store ok"),
        (Wallet(3), {"coins": "3", "status": "frozen"}, "its entries say that it is ok, the store frozen"),
        (
            Wallet(3, status_ms=5),
            {"coins": "3"},
            "its entries say that its orders are of ('5', '0'), the store (None, None)",
        ),
        (Wallet(3, limit_ms=5), {"coins": "3", "limit_ms": "5"}, ""),
        (Wallet(3, limit=4), {"coins": "3", "limit": "4"}, ""),
        (
            Wallet(3),
            {"coins": "3", "limit": "4"},
            "its entries say that its limit is [None, None, None], the store ['4', None, None]",
        ),
        (Wallet(3, "ok", 4, 0, 9), {"coins": "3", "limit": "4", "next_limit": "0", "next_day": "9"}, ""),
        (
            Wallet(3, "ok", 4, 6, 9),
            {"coins": "3", "limit": "4", "next_limit": "6", "next_day": "8"},
            "its entries say that its limit is [4, 6, 9], the store ['4', '6', '8']",
        ),
    ],
)
def test_a_wallet(wallet: Wallet, fields: dict[str, str], what: str) -> None:
    """Its coins, status, orders and limits; a field that is missing has its first value."""
    found = named(expected({"alice": wallet}), stored(wallets={"alice": held(**fields)}))
    assert found == ({"viewer:alice": what} if what else {})


@pytest.mark.parametrize(
    ("spent", "fields", "right"),
    [
        (None, {}, True),
        (None, {"day": "0", "spent": "0"}, True),
        (None, {"day": "9", "spent": "4"}, False),
        (Spent(9, 4), {"day": "9", "spent": "4"}, True),
        (Spent(9, 4), {"day": "9", "spent": "5"}, False),
        (Spent(9, 4), {"day": "8", "spent": "4"}, False),
        (Spent(9, 4), {}, False),
    ],
)
def test_the_days_spending(spent: Spent | None, fields: dict[str, str], right: bool) -> None:
    found = list(spending_differs(5, "alice", spent, held(**fields)))
    assert [wrong.where for wrong in found] == ([] if right else ["viewer:alice"])


def test_totals_and_epoch() -> None:
    """Each total by its own counter, and the epoch of the newest entry. A store without a log has no epoch yet."""
    right = expected()
    right.totals.spent, right.totals.awarded = 5, 3
    meta = {**META, "coins": "5", "diamonds": "3"}
    assert list(totals_differ(5, right, stored(meta={**meta, **dict.fromkeys(COUNTERS)}))) == []
    wrong = {**meta, **dict.fromkeys(COUNTERS), "coins": "6", "bought": "1", "epoch": "4", "opened": ""}
    assert [each.where for each in totals_differ(5, right, stored(meta=wrong))] == [
        "coins spent",
        "bought",
        "epoch",
        "opened",
    ]
    nothing = {**dict.fromkeys(META), **dict.fromkeys(("coins", "diamonds", *COUNTERS))}
    assert list(totals_differ(5, expected(), stored(at=(0, -1), meta=nothing))) == []


COUNTERS = ("bought", "refunded", "charged_back")


async def test_what_is_read_of_the_store(money: Store) -> None:
    """A missing wallet or counter is nothing, one of another type is odd, and each stays beside its name."""
    await money.call("HSET", keys.wallet("alice"), "c", 9, "day", 3)
    await money.call("SET", keys.wallet("odd"), "no wallet")
    await money.call("SET", keys.credit(5, "ann"), 7)
    await money.call("HSET", keys.credit(5, "eve"), "no", "counter")
    await money.call("HSET", keys.wallet_meta(5), "epoch", 3, "coins", 4)
    await money.call("XADD", keys.log(5), "3-7", "t", "1")
    accounts = [f"{VIEWER}{user}" for user in ("nobody", "odd", "alice")]
    accounts += [f"{CREATOR}{creator}" for creator in ("zoe", "eve", "ann")]
    found = await StoreSide(money, Clock(lambda: 0)).read(5, accounts)
    assert found.at == (3, 7)
    assert (found.meta["epoch"], found.meta["coins"], found.meta["bought"]) == ("3", "4", None)
    assert found.wallets == {"nobody": NONE, "alice": held(coins="9", day="3")}
    assert found.counters == {"zoe": None, "ann": "7"}
    assert found.odd == ["viewer:odd", "creator:eve"]


async def test_totals_of_another_type_begin_again(money: Store) -> None:
    """As frozen, so that no gift is paid while the rest is put back."""
    await money.call("SET", keys.wallet_meta(5), "no hash")
    call = correct.SET(log=keys.log(5), meta=keys.wallet_meta(5), last="", each=[])
    assert await money.run(*call) == [b"ok", f"{keys.wallet_meta(5)}  a string -> nothing".encode()]
    assert await money.call("HGETALL", keys.wallet_meta(5)) == {b"frozen": b"1"}


def test_a_log_id() -> None:
    assert [position(text) for text in ("", "0-0", "12-7")] == [(0, -1), (0, 0), (12, 7)]
    assert msgspec.structs.asdict(stored())["at"] == (3, 7)
