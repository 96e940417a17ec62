"""Orders about a wallet: which of two decides about its status or limit, and that a stale epoch changes nothing."""

import json
from typing import Any

import pytest

from protocol.refusals import Refused
from server import limits
from server.entries import ChargebackEntry, FreezeEntry, LimitEntry, OrderEntry, RefundEntry, TopUpEntry, UnfreezeEntry
from server.money.results import Overtaken, SpendLimit, TopUpConflict
from server.store import keys
from tests.money import Purse, a_gift
from tests.wallet.test_wallet import at_ms, everything

META = keys.wallet_meta(keys.partition_of("alice"))
WALLET = keys.wallet("alice")


def freeze(id: str, ordered_ms: int) -> FreezeEntry:
    return FreezeEntry(id=id, viewer="alice", fp=f"freeze-{id}", ordered_ms=ordered_ms)


def unfreeze(id: str, ordered_ms: int) -> UnfreezeEntry:
    return UnfreezeEntry(id=id, viewer="alice", fp=f"unfreeze-{id}", ordered_ms=ordered_ms)


def limit(id: str, coins: int, ordered_ms: int) -> LimitEntry:
    return LimitEntry(id=id, viewer="alice", coins_per_day=coins, ordered_ms=ordered_ms, fp=f"limit-{id}")


async def status(purse: Purse) -> str:
    return (await purse.wallet.view("alice")).status


# --- a stale epoch ---------------------------------------------------------------------------------------------------
ORDERS: dict[str, OrderEntry] = {
    "topup": TopUpEntry(id="t1", viewer="alice", coins=5, source="test", fp="f"),
    "refund": RefundEntry(id="g1", viewer="alice", coins=5, diamonds=0, fp="f"),
    "chargeback": ChargebackEntry(id="t1", viewer="alice", coins=5, fp="f", ordered_ms=5),
    "freeze": freeze("f1", 5),
    "unfreeze": unfreeze("u1", 5),
    "limit": limit("l1", 5, 5),
}


@pytest.mark.parametrize("kind", ORDERS)
async def test_a_stale_epoch_changes_nothing(purse: Purse, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """When another node has opened a later epoch, an order changes nothing, and the node opens again."""
    await purse.buy("alice", 100)
    log, reopened = keys.log(keys.partition_of("alice")), list[bool]()
    purse.look.xadd(log, {"t": "1", "e": json.dumps({"kind": "open"})}, id="2-0")
    monkeypatch.setattr(purse.store, "reopen", lambda: reopened.append(True))
    was = everything(purse)
    with pytest.raises(Refused, match="wallet_unavailable"):
        await purse.wallet.order(ORDERS[kind])
    assert (everything(purse), reopened) == (was, [True])


async def test_a_limit_needs_money_time(purse: Purse) -> None:
    """A partition without money time has no day, so it is opened again before it takes a limit."""
    purse.look.hdel(META, "now")
    was = everything(purse)
    with pytest.raises(Refused, match="wallet_unavailable"):
        await purse.wallet.order(limit("l1", 5, 5))
    now = everything(purse)
    assert now.get(WALLET) is None
    assert now[keys.log(keys.partition_of("alice"))] == was[keys.log(keys.partition_of("alice"))]


# --- which order decides ---------------------------------------------------------------------------------------------
async def test_a_late_status_does_not_undo_a_newer_one(purse: Purse) -> None:
    """The order that was recorded later decides, whichever arrives last. One of the same time decides again."""
    await purse.wallet.order(freeze("f2", 20))
    with pytest.raises(Overtaken):
        await purse.wallet.order(unfreeze("u1", 19))
    assert (await status(purse), purse.look.hget(WALLET, "st_ms")) == ("frozen", "20")
    await purse.wallet.order(unfreeze("u2", 20))
    assert (await status(purse), purse.look.hget(WALLET, "st_ms")) == ("ok", "20")
    await purse.wallet.order(freeze("f3", 21))
    assert (await status(purse), purse.look.hget(WALLET, "st_ms")) == ("frozen", "21")


async def test_an_older_programs_status_has_no_time(purse: Purse) -> None:
    """It always decides, and leaves the time of the newest order as it is."""
    await purse.wallet.order(freeze("f1", 0))
    assert (await status(purse), purse.look.hget(WALLET, "st_ms")) == ("frozen", None)
    await purse.wallet.order(unfreeze("u1", 20))
    await purse.wallet.order(freeze("f2", 0))
    assert (await status(purse), purse.look.hget(WALLET, "st_ms")) == ("frozen", "20")


async def test_a_late_chargeback_takes_coins_only(purse: Purse) -> None:
    """A chargeback that a newer unfreeze has overtaken still takes its coins; the status stays."""
    purse.look.hset(WALLET, "c", 100)
    purse.look.hset(META, "bought", 100)
    await purse.wallet.order(unfreeze("u1", 20))
    entry = ChargebackEntry(id="t1", viewer="alice", coins=5, fp="f", ordered_ms=19)
    assert (await purse.wallet.order(entry)).balance == 95
    assert (await status(purse), purse.look.hget(META, "charged_back")) == ("ok", "5")
    assert (await purse.wallet.order(entry)).duplicate
    purse.look.flushall()  # the sums of this store have no chargebacks


async def test_a_late_limit_does_not_undo_a_newer_one(purse: Purse) -> None:
    """The same for limits. An older program's has no time, and decides."""
    await purse.wallet.order(limit("l2", 50, 20))
    with pytest.raises(Overtaken):
        await purse.wallet.order(limit("l1", 10, 19))
    assert purse.look.hmget(WALLET, "limit", "limit_ms") == ["50", "20"]
    await purse.wallet.order(limit("l3", 40, 20))
    assert purse.look.hmget(WALLET, "limit", "limit_ms") == ["40", "20"]
    await purse.wallet.order(limit("l0", 30, 0))
    assert purse.look.hmget(WALLET, "limit", "limit_ms") == ["30", "20"]


async def test_a_limit_that_is_sent_again(purse: Purse) -> None:
    """A repeated order is a duplicate with the limits as they are now; another one under its id is a conflict."""
    today = int(purse.look.hget(META, "now") or 0) // limits.DAY_MS
    tomorrow_ms = (today + 1) * limits.DAY_MS
    first = await purse.wallet.order(limit("l1", 50, 20))
    assert (first.duplicate, first.limit) == (False, SpendLimit("alice", 50, None, None))
    raised = await purse.wallet.order(limit("l2", 80, 21))
    assert raised.limit == SpendLimit("alice", 50, 80, tomorrow_ms)
    again = await purse.wallet.order(limit("l2", 80, 21))
    assert (again.duplicate, again.entry_id, again.limit) == (True, raised.entry_id, raised.limit)
    purse.look.hset(WALLET, "next_day", today)  # it is tomorrow
    assert (await purse.wallet.order(limit("l2", 80, 21))).limit == SpendLimit("alice", 80, None, None)
    assert (await purse.wallet.order(limit("l1", 50, 20))).limit == SpendLimit("alice", 80, None, None)
    with pytest.raises(TopUpConflict):
        await purse.wallet.order(LimitEntry(id="l1", viewer="alice", coins_per_day=51, ordered_ms=20, fp="another"))
    assert purse.look.hmget(WALLET, "limit", "next_limit") == ["50", "80"]


CHANGES: list[tuple[list[int], list[Any]]] = [  # limits in order, and what the wallet holds: limit, next
    ([50], ["50", None]),
    ([50, 50], ["50", None]),
    ([50, 49], ["49", None]),
    ([50, 51], ["50", "51"]),
    ([50, 0], ["50", "0"]),
    ([0], ["0", None]),
    ([0, 9], ["9", None]),
    ([50, 51, 50], ["50", None]),
    ([50, 51, 0], ["50", "0"]),
]


@pytest.mark.parametrize(("orders", "held"), CHANGES)
async def test_what_a_limit_leads_to(purse: Purse, orders: list[int], held: list[Any]) -> None:
    """A limit that is as low or lower applies at once and takes back the one to come; any other is one to come."""
    for number, coins in enumerate(orders):
        await purse.wallet.order(limit(f"l{number}", coins, number + 1))
    assert purse.look.hmget(WALLET, "limit", "next_limit") == held
    assert (purse.look.hget(WALLET, "next_day") is None) == (held[1] is None)


async def test_the_smaller_limit_counts(purse: Purse) -> None:
    """Of the site's limit and the viewer's, on the day from which each applies; exactly the limit may be spent."""
    await purse.buy("alice", 1_000)
    today = int(purse.look.hget(META, "now") or 0) // limits.DAY_MS
    purse.look.hset(WALLET, mapping={"limit": "10", "next_limit": "30", "next_day": today + 1})
    assert await purse.outcomes(a_gift(coins=10), a_gift(coins=1)) == ["ok 990", "spend_limit"]
    purse.look.hset(WALLET, "next_day", today)
    assert await purse.outcomes(a_gift(coins=20), a_gift(coins=1)) == ["ok 970", "spend_limit"]
    purse.look.hset(WALLET, "day", today - 1)
    assert await purse.outcomes(a_gift(coins=30), a_gift(coins=1)) == ["ok 940", "spend_limit"]
    purse.look.hdel(WALLET, "day", "spent", "limit", "next_limit", "next_day")
    purse.store.site_limit = 40
    assert await purse.outcomes(a_gift(coins=40), a_gift(coins=1)) == ["ok 900", "spend_limit"]
    purse.look.hset(WALLET, "limit", "50")
    assert await purse.outcome(a_gift(coins=1)) == "spend_limit"
    purse.look.hset(WALLET, mapping={"limit": "5", "day": today - 1})
    assert await purse.outcomes(a_gift(coins=5), a_gift(coins=1)) == ["ok 895", "spend_limit"]


async def test_a_viewer_hears_when_a_limit_ends(purse: Purse) -> None:
    """At the end of the partition's day, in UTC."""
    await purse.buy("alice", 100)
    await purse.wallet.order(limit("l1", 5, 1))
    refused = await purse.pay(a_gift(coins=6))
    assert isinstance(refused, Refused)
    today = int(purse.look.hget(META, "now") or 0) // limits.DAY_MS
    assert refused.data == {"resets_at_ms": (today + 1) * limits.DAY_MS}


@pytest.mark.parametrize(("days", "at"), [(-1, -1), (0, None), (1, limits.DAY_MS)])
async def test_an_entry_is_of_the_day_of_money_time(purse: Purse, days: int, at: int | None) -> None:
    """Its time is the store's, but not before that day's first millisecond, nor after its last."""
    now_ms = int(purse.look.hget(META, "now") or 0)
    midnight_ms = now_ms // limits.DAY_MS * limits.DAY_MS
    purse.look.hset(META, "now", midnight_ms + days * limits.DAY_MS + 5)
    done = await purse.wallet.order(limit("l1", 5, 1))
    [(_, fields)] = purse.look.xrange(keys.log(keys.partition_of("alice")), done.entry_id, done.entry_id)
    if at is None:
        assert abs(int(fields["t"]) - now_ms) < 60_000
    else:
        assert int(fields["t"]) == midnight_ms + at


async def test_an_entry_has_the_stores_time(purse: Purse) -> None:
    """A top-up's, a limit's and a gift's, to the millisecond."""
    last_ms = (int(purse.look.hget(META, "now") or 0) // limits.DAY_MS + 1) * limits.DAY_MS - 1  # when midnight is near
    for act in (
        lambda: purse.buy("alice", 100),
        lambda: purse.wallet.order(limit("l1", 50, 1)),
        lambda: purse.pay(a_gift(coins=10)),
    ):
        before_ms = at_ms(purse)
        await act()
        [(_, fields)] = purse.look.xrevrange(keys.log(keys.partition_of("alice")), count=1)
        assert min(before_ms, last_ms) <= int(fields["t"]) <= at_ms(purse), fields
