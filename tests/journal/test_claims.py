"""Claims: a top-up's id buys for one person, even when SQL has forgotten it and the store was filled again."""

import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import update

from server import limits
from server.clock import Clock, Uptime
from server.journal import moneytime
from server.journal.claimed import Claims
from server.journal.moneytime import Mover
from server.journal.tables import topups
from server.money.results import TopUpConflict
from server.orders.topups import TopUp
from server.store import keys
from server.store.client import Store
from tests.conftest import Stores
from tests.journal.copies import copied, restored
from tests.journal.ledger import drained
from tests.site import WAIT_S, Site

CLOCK = Clock(time.time)
IDS = [f"order-{n}" for n in range(5)]


@pytest.fixture
async def money(stores: Stores) -> AsyncIterator[Store]:
    made = Store("wallet", f"unix://{stores.wallet.socket}", scripts=moneytime.SCRIPTS)
    await made.start()
    await made.wait_up(WAIT_S)
    yield made
    await made.stop()


async def refilled(money: Store) -> None:
    """Lose what a lost store loses: claims, and that they are there. The rest comes back when it is opened."""
    await money.call("DEL", *(keys.claim(id) for id in IDS))
    for partition in range(limits.WALLET_PARTITIONS):
        await money.call("HDEL", keys.wallet_meta(partition), "claims")


async def test_an_id_buys_for_one_after_both_stores_were_lost(
    site: Site, money: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was filled from the journal. Then an older journal came back, and its log has not caught up yet."""
    monkeypatch.setattr(limits, "CLAIMS_BATCH", 2)
    old = copied(site.node.engine)
    for id in IDS:
        await site.node.purchases.top_up("alice", TopUp(id, 500, "shop"))
    async with site.draining() as drain:
        await drained(drain)
    await refilled(money)
    mover = Mover(site.node.engine, money, CLOCK, Uptime())
    for _ in range(len(IDS)):
        await mover.once()
    restored(site.node.engine, old)
    for id in IDS:
        with pytest.raises(TopUpConflict):
            await site.node.purchases.top_up("bob", TopUp(id, 500, "shop"))
        assert (await site.node.purchases.top_up("alice", TopUp(id, 500, "shop"))).duplicate
    assert (await site.coins("alice"), await site.coins("bob")) == (12_500, 10_000)


async def test_claims_live_by_money_time(site: Site, money: Store) -> None:
    """The store's clock may jump: no claim expires by it, not even one that an older program made."""
    await site.node.purchases.top_up("alice", TopUp(IDS[0], 500, "shop"))
    async with site.draining() as drain:
        await drained(drain)
    assert await money.call("TTL", keys.claim(IDS[0])) == -1
    await money.call("EXPIRE", keys.claim(IDS[0]), 1_000)
    await money.call("HDEL", keys.wallet_meta(keys.partition_of(IDS[0])), "claims")
    await Mover(site.node.engine, money, CLOCK, Uptime()).once()
    assert await money.call("TTL", keys.claim(IDS[0])) == -1


async def test_each_order_is_looked_at_once(site: Site, money: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of one millisecond, of which the batches take some each. Then all partitions have their claims."""
    monkeypatch.setattr(limits, "CLAIMS_BATCH", 2)
    for id in IDS:
        await site.node.purchases.top_up("alice", TopUp(id, 500, "shop"))
    async with site.draining() as drain:
        await drained(drain)
    with site.node.engine.begin() as connection:
        connection.execute(update(topups).where(topups.c.id.in_(IDS)).values(at_ms=5))
    await refilled(money)
    claims = Claims(site.node.engine, money)
    for done in (2, 4, 5, 5):  # the demo's orders come last, and their claims are there
        await claims.once(0)
        assert claims.put == done
        assert not any([await money.call("EXISTS", keys.claim(id)) for id in IDS[done:]])
    for partition in range(limits.WALLET_PARTITIONS):
        epoch, noted = await money.call("HMGET", keys.wallet_meta(partition), "epoch", "claims")
        assert epoch == noted is not None
