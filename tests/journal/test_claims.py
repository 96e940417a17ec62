"""Claims: a top-up's id buys for one person, even when SQL has forgotten it and the store was filled again."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import delete, insert, update

from server import limits
from server.clock import Clock, Uptime
from server.journal import moneytime
from server.journal.audit import SCRIPTS as AUDIT_SCRIPTS
from server.journal.audit import Audit
from server.journal.claimed import Claims, Stray, strays
from server.journal.moneytime import Mover
from server.journal.tables import topups
from server.money.results import TopUpConflict
from server.orders.topups import TopUp
from server.processes import repair
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
    made = Store("wallet", f"unix://{stores.wallet.socket}", scripts=(*moneytime.SCRIPTS, *AUDIT_SCRIPTS))
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


# --- claims of nobody ------------------------------------------------------------------------------------------------
async def test_a_claim_of_nobody_is_named(site: Site, money: Store) -> None:
    """It freezes nothing. An order that is pending, one in the log, and one whose row was lost have theirs by right."""
    engine, elsewhere = site.node.engine, (keys.partition_of(IDS[1]) + 1) % limits.WALLET_PARTITIONS
    for id in IDS[:3]:
        await site.node.purchases.top_up("alice", TopUp(id, 500, "shop"))
    async with site.draining() as drain:
        await drained(drain)
    with engine.begin() as connection:
        row = connection.execute(topups.select().where(topups.c.id == IDS[0])).mappings().one()
        connection.execute(delete(topups).where(topups.c.id == IDS[0]))
        order = {"user_id": "alice", "coins": 1, "source": "shop", "at_ms": 1, "state": "pending"}
        connection.execute(insert(topups).values(id=IDS[3], **order))
        assert strays(connection, [Stray(keys.partition_of(id), id) for id in IDS[:4]]) == []
        connection.execute(delete(topups).where(topups.c.id == IDS[3]))
        connection.execute(insert(topups).values(dict(row)))
    audit = Audit(engine, money, CLOCK)
    await audit.run()
    invented = [Stray(elsewhere, IDS[1]), Stray(keys.partition_of("invented"), "invented")]
    for each in invented:
        await money.call("SET", keys.claim_in(each.partition, each.id), "anything")
    assert (await audit.run(everything=False)).doubts == [], "it has its turn in an audit of everything"
    report = await audit.run(freeze=True)
    assert [doubt for doubt in report.doubts if doubt.startswith("claim:")] == [
        each.said for each in reversed(invented)
    ]
    assert not report.ok
    assert (report.wrong, report.stuck) == ([], {})


async def test_claims_of_nobody_are_removed(site: Site, money: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """The command names each and says how to remove it. Then the id buys again; claims of orders stay."""
    await site.node.purchases.top_up("alice", TopUp(IDS[0], 500, "shop"))
    await money.call("SET", keys.claim(IDS[1]), "anything")
    with pytest.raises(TopUpConflict):
        await site.node.purchases.top_up("alice", TopUp(IDS[1], 500, "shop"))
    assert await asyncio.to_thread(repair.run, site.settings, repair.Order()) == 0
    assert f"claim:{IDS[1]}: no top-up has this id" in capsys.readouterr().out
    assert await asyncio.to_thread(repair.run, site.settings, repair.Order(claims=True)) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Removed")]
    assert said == [f"Removed the claim on {IDS[1]}: a top-up can have this id again."]
    assert await money.call("EXISTS", keys.claim(IDS[0])) == 1
    assert not (await site.node.purchases.top_up("alice", TopUp(IDS[1], 500, "shop"))).duplicate
