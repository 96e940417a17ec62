"""What the store must hold at a log id: at every one of a history, whatever came after it."""

from collections.abc import AsyncIterator

import pytest

from server.journal import asof
from server.journal.compare import StoreSide
from server.journal.database import reading
from server.journal.verify import verify
from server.store import keys
from tests.journal.desk import Desk, a_desk
from tests.site import Site

USER = "cleo"
PARTITION = keys.partition_of(USER)
ACCOUNTS = [f"viewer:{USER}", "creator:ann", "creator:ben"]


@pytest.fixture
async def desk(site: Site) -> AsyncIterator[Desk]:
    async with a_desk(site, site.settings.wallet_address) as made:
        yield made


async def test_at_every_log_id(desk: Desk) -> None:
    """A refund names its creator, but moves no counter: the gift behind it does."""
    store = StoreSide(desk.money, desk.site.node.clock)
    seen = [await store.read(PARTITION, ACCOUNTS)]

    async def look() -> None:
        await desk.journal()
        seen.append(await store.read(PARTITION, ACCOUNTS))

    await desk.buy(USER, 100, "t1")
    await look()
    first = await desk.give(USER, 10, 6, to="ann")
    await look()
    await desk.give(USER, 20, 9, to="ben")
    await look()
    await desk.refund(first)
    await look()
    await desk.give(USER, 5, 3, to="ann")
    await look()
    await desk.buy(USER, 40, "t2")
    await look()
    await desk.give(USER, 30, 12, to="ben")
    await look()
    await desk.charge_back("t1")
    await look()
    with reading(desk.site.node.engine).connect() as connection:
        sums = verify(connection, PARTITION).sums
        for stored in seen:
            found = asof.expected(connection, PARTITION, stored.at, sums, ACCOUNTS, behind=True)
            held = {user: (int(each.coins or 0), each.status or "ok") for user, each in stored.wallets.items()}
            assert {user: (each.coins, each.status) for user, each in found.wallets.items()} == held, stored.at
            assert found.counters == {name: int(text or 0) for name, text in stored.counters.items()}, stored.at
