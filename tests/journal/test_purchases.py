"""Top-ups: an id buys once, forever; the journal decides when the store has forgotten it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from protocol.refusals import Refused
from server import limits
from server.journal.tables import entries, topups
from server.money.results import TopUpConflict
from server.orders.topups import TopUp
from server.store import keys
from tests.conftest import Stores
from tests.journal.ledger import drained, pay, rows
from tests.money import Purse
from tests.site import Site

AnotherSite = Callable[[], Awaitable[Site]]


def order(engine: Engine, id: str) -> Any:
    """The row of one order."""
    (row,) = rows(engine, topups, topups.c.id == id)
    return row


async def test_an_order_is_pending_until_it_is_journaled(site: Site) -> None:
    """The row is written first; the ledger entry's transaction marks it posted, with the new balance."""
    buy = site.node.purchases.top_up
    done = await buy("alice", TopUp("order-1", 500, "shop"))
    assert (done.balance, done.duplicate) == (10_500, False)
    row = order(site.node.engine, "order-1")
    assert (row.user_id, row.coins, row.source, row.state, row.balance) == ("alice", 500, "shop", "pending", None)
    await pay(site, "alice", 100)
    async with site.draining() as drain:
        await drained(drain)
    row = order(site.node.engine, "order-1")
    assert (row.state, row.balance) == ("posted", 10_500)


@pytest.mark.parametrize("journaled", [False, True])
async def test_the_same_order_again(site: Site, journaled: bool) -> None:
    """A repeated order is a duplicate with the first balance, journaled or not; a different one is a conflict."""
    buy = site.node.purchases.top_up
    await buy("alice", TopUp("order-1", 500, "shop"))
    await pay(site, "alice", 100)
    if journaled:
        async with site.draining() as drain:
            await drained(drain)
    again = await buy("alice", TopUp("order-1", 500, "shop"))
    assert (again.balance, again.duplicate) == (10_500, True)
    for user, changed in (
        ("alice", TopUp("order-1", 501, "shop")),
        ("alice", TopUp("order-1", 500, "another")),
        ("bob", TopUp("order-1", 500, "shop")),
    ):
        with pytest.raises(TopUpConflict):
            await buy(user, changed)
    assert (await site.coins("alice"), await site.coins("bob")) == (10_400, 10_000)


async def test_an_order_that_the_store_has_forgotten(site: Site, stores: Stores) -> None:
    """The receipt is long gone, but the journal still has the unique id: nothing is credited twice."""
    buy = site.node.purchases.top_up
    await buy("alice", TopUp("order-1", 500, "shop"))
    async with site.draining() as drain:
        await drained(drain)
    with stores.wallet.client() as look:
        assert look.ttl(keys.receipt("alice", "topup:order-1")) == -1
        look.delete(keys.receipt("alice", "topup:order-1"))
    assert (await buy("alice", TopUp("order-1", 500, "shop"))).duplicate
    assert await site.coins("alice") == 10_500


async def test_an_order_of_two_nodes_at_once(another_site: AnotherSite) -> None:
    """A shop that asks two nodes at the same time is credited once."""
    sites = [await another_site(), await another_site()]
    one = TopUp("order-1", 500, "shop")
    done = await asyncio.gather(*(sites[n % 2].node.purchases.top_up("alice", one) for n in range(10)))
    assert sum(not each.duplicate for each in done) == 1
    assert await sites[0].coins("alice") == 10_500


async def test_an_order_that_was_begun(far_purse: Purse, wire: Any) -> None:
    """A node that dies before it calls the wallet leaves a pending order; a retry credits it."""
    wire.lose_request("order-1")
    with pytest.raises(Refused, match="wallet_unavailable"):
        await far_purse.buy("alice", 100, "order-1")
    assert order(far_purse.engine, "order-1").state == "pending"
    await far_purse.settled()
    done = await far_purse.buy("alice", 100, "order-1")
    assert (done.balance, done.duplicate) == (100, False)


# --- a wallet's entries in the journal -----------------------------------------------------------------------------
async def test_a_wallets_entries(site: Site) -> None:
    """Newest first: each change and the balance after it, for this wallet only."""
    first = await pay(site, "alice", 30)
    await pay(site, "bob", 7)
    await site.node.purchases.top_up("alice", TopUp("order-1", 500, "shop"))
    async with site.draining() as drain:
        await drained(drain)
    found = await site.node.purchases.entries_of("alice", None)
    told = [
        {name: getattr(entry, name) for name in ("kind", "ref", "coins", "balance", "room_id", "to")} for entry in found
    ]
    assert told == [
        {"kind": "topup", "ref": "order-1", "coins": 500, "balance": 10_470, "room_id": None, "to": None},
        {"kind": "gift", "ref": first, "coins": -30, "balance": 9_970, "room_id": "demo", "to": "creator"},
        {"kind": "topup", "ref": "demo-alice", "coins": 10_000, "balance": 10_000, "room_id": None, "to": None},
    ]
    epoch, _, n = found[1].entry.partition("-")
    assert await site.node.purchases.entries_of("alice", (int(epoch), int(n))) == found[2:], "those before it"
    assert await site.node.purchases.entries_of("nobody", None) == []
    row = {"epoch": 9, "n": 1, "kind": "loan", "ref": "l", "coins": 7, "diamonds": 0, "combo_count": 0}
    row |= {"partition": keys.partition_of("alice"), "user_id": "alice", "at_ms": 1, "body": "{}", "hash": ""}
    with site.node.engine.begin() as connection:
        connection.execute(insert(entries).values(row))
    newest, *older = await site.node.purchases.entries_of("alice", None)
    assert (newest.kind, newest.coins, older) == ("loan", 0, found), "nobody knows which way a later kind moves coins"


async def test_paging_through_a_wallets_entries(site: Site) -> None:
    """Pages show every entry, even those of one batch, which share a millisecond."""
    await asyncio.gather(*(pay(site, "alice", 1) for _ in range(limits.PAGE + 50)))
    async with site.draining() as drain:
        await drained(drain)
    seen: list[dict[str, Any]] = []
    address = "/v1/wallets/alice/entries"
    for _ in range(10):
        page = (await site.http.get(address)).json()
        seen += page["entries"]
        if len(page["entries"]) < limits.PAGE:
            break
        address = f"/v1/wallets/alice/entries?{page['next']}"
    assert len({entry["entry"] for entry in seen}) == limits.PAGE + 51
    balances = [entry["balance"] for entry in seen]
    assert balances == sorted(balances)  # each gift costs a coin, so the newest balance is the lowest
