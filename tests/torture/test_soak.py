"""Everything at once for a while: two nodes, the drain, and audits that never find anything."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from server.journal.audit import SCRIPTS, Audit
from server.store.client import Store
from tests.torture import rounds
from tests.torture.bank import CLOCK, WAIT_S, Bank, Node


@pytest.mark.timeout(rounds(60, 300))
async def test_money_is_conserved_at_every_moment(bank: Bank, new_node: Callable[..., Awaitable[Node]]) -> None:
    """Gifts go through two nodes, drain and audit run: no audit finds an error, and the last check sees all."""
    other = await new_node(bank)
    for viewer in bank.viewers:
        await bank.node.buy(viewer, rounds(1, 10_000_000))  # enough for a minute
    stopping, store = asyncio.Event(), Store("wallet", bank.settings.wallet_address, scripts=SCRIPTS)
    await store.start()
    await store.wait_up(WAIT_S)
    audit, audits, compared = Audit(bank.engine, store, CLOCK), 0, 0
    try:
        async with bank.draining() as drain, bank.giving(rounds(2, 12), bank.node, other):
            running = asyncio.create_task(drain.run(stopping))
            until = time.monotonic() + rounds(2, 60)
            while time.monotonic() < until or audits < 2:
                await bank.more(20)
                report = await audit.run()
                assert report.wrong == []
                audits, compared = audits + 1, compared + report.partitions_compared
            stopping.set()
            await running
    finally:
        await store.stop()
    assert compared
    await bank.resolve()
    await bank.check()
