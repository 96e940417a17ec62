"""An older copy of the journal comes back while the wallet store went on: rows return, nothing is paid twice."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import delete

from server import limits
from server.journal.rebuild import rebuild
from server.journal.tables import metadata
from server.money.results import TopUpConflict
from server.orders.topups import TopUp
from server.store import keys
from tests.journal.copies import copied, restored
from tests.journal.desk import Desk, a_desk
from tests.site import Site


@pytest.fixture
async def desk(site: Site) -> AsyncIterator[Desk]:
    async with a_desk(site, site.settings.wallet_address) as made:
        yield made


async def test_an_older_journal_gets_its_top_ups_back(desk: Desk) -> None:
    """Before and after the drain has caught up, an id that the journal lost credits nobody else."""
    await desk.buy("cleo", 10)
    await desk.journal()
    old = copied(desk.site.node.engine)
    topup = await desk.buy("cleo", 100)
    await desk.give("cleo", 30)
    await desk.journal()
    restored(desk.site.node.engine, old)
    order = TopUp(topup, 100, "test")
    for _ in ("not drained again", "drained again"):
        with pytest.raises(TopUpConflict):
            await desk.site.node.purchases.top_up("dora", order)
        assert await desk.holds("dora") == 0
        await desk.journal()
    assert (await desk.site.node.purchases.top_up("cleo", order)).duplicate
    assert (await desk.charge_back(topup)).coins == -80
    assert await desk.holds("cleo") == 0


async def test_a_lost_row_of_a_top_up(desk: Desk) -> None:
    """The ledger entry in the journal speaks for a top-up whose row is missing."""
    topup = await desk.buy("cleo", 100)
    await desk.journal()
    with desk.site.node.engine.begin() as connection:
        connection.execute(delete(metadata.tables["topups"]))
    await desk.money.call("DEL", keys.claim(topup))
    order = TopUp(topup, 100, "test")
    with pytest.raises(TopUpConflict):
        await desk.site.node.purchases.top_up("dora", order)
    again = await desk.site.node.purchases.top_up("cleo", order)
    assert (again.balance, again.duplicate) == (100, True)
    assert await desk.holds("dora") == 0
    for partition in range(limits.WALLET_PARTITIONS):
        rebuild(desk.site.node.engine, partition, {})
    assert (await desk.charge_back(topup)).coins == -100


async def test_an_older_journal_gets_its_reversals_back(desk: Desk) -> None:
    """Refunds, chargebacks and freezes are posted again, and a repeated order answers as at first."""
    await desk.buy("cleo", 10)
    await desk.buy("dora", 50)
    await desk.journal()
    old = copied(desk.site.node.engine)
    topup, gift = await desk.buy("cleo", 100), await desk.give("cleo", 30)
    given_back = await desk.give("dora", 20)
    await desk.journal()
    refund, back = await desk.refund(given_back), await desk.charge_back(topup)
    await desk.site.node.freezes.freeze("dora", "freeze-1")
    await desk.journal()
    before = desk.orders()
    restored(desk.site.node.engine, old)
    await desk.journal()
    assert desk.orders() == before
    for first, again in ((refund, desk.refund(given_back)), (back, desk.charge_back(topup))):
        second = await again
        assert second.duplicate
        assert (second.coins, second.diamonds, second.reversed) == (first.coins, first.diamonds, first.reversed)
    assert gift in {part.gift_id for part in back.reversed}
    assert (await desk.site.node.freezes.freeze("dora", "freeze-1")).duplicate
    await desk.journal()
    assert set(desk.orders().values()) == {"posted"}
