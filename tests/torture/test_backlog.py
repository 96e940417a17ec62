"""The journal is away: gifts go on up to the bound of the log, wait above it, and go on when it has caught up."""

import asyncio
from collections.abc import Callable

import pytest

from protocol.refusals import Refusal, Refused
from tests.program import eventually
from tests.site import Site
from tests.stores import settings
from tests.torture.bank import WAIT_S, Bank


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done every few seconds is done many times a second."""
    monkeypatch.setattr("server.limits.LOG_LOOK_S", 0.05)
    monkeypatch.setattr("server.limits.TRIM_EVERY_S", 0.05)
    monkeypatch.setattr("server.limits.RETELL_AFTER_MS", 0)


async def test_a_log_that_is_full(quick: None, new_bank: Callable[..., Bank]) -> None:
    """Above LIVEROOM_LOG_ENTRIES_MAX gifts are refused and chat goes on; a journal that comes back clears it."""
    bank = new_bank(LIVEROOM_LOG_ENTRIES_MAX="500")
    await bank.open()
    while bank.node.store.usable:
        await bank.give(100)
        assert len(bank.book.acked) < 5_000
    gift = bank.gift()
    outcome = await bank.node.send(gift)
    assert isinstance(outcome, Refused)
    assert outcome.reason is Refusal.WALLET_UNAVAILABLE
    assert bank.lost([gift.gift_id])
    site = Site(settings(bank.folder, **bank.environ))
    site.settings = bank.settings
    stopping = asyncio.Event()
    async with bank.draining() as drain:
        running = asyncio.create_task(drain.run(stopping))
        try:
            await bank.node.until_usable()
            await bank.resolve()
        finally:
            stopping.set()
            await running
    await bank.check()
