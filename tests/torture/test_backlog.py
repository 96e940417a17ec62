"""While the journal is away, gifts go on until the log is full. They go on again when the journal catches up."""

import asyncio
from collections.abc import Callable

import pytest

from tests.program import eventually
from tests.site import Site
from tests.torture.bank import WAIT_S, Bank


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Periodic work runs many times a second."""
    monkeypatch.setattr("server.limits.LOG_LOOK_S", 0.05)
    monkeypatch.setattr("server.limits.TRIM_EVERY_S", 0.05)
    monkeypatch.setattr("server.limits.RETELL_AFTER_MS", 0)


async def test_a_log_that_is_full(quick: None, new_bank: Callable[..., Bank]) -> None:
    """Above LIVEROOM_LOG_ENTRIES_MAX gifts are refused and chat goes on, until the journal is back."""
    bank = new_bank(LIVEROOM_LOG_ENTRIES_MAX="500")
    await bank.open()
    site = Site(bank.settings)
    await site.start()
    try:
        viewer = await site.join("alice", "bot")
        assert (await viewer.gift())["type"] == "ok"
        while bank.node.store.usable:
            await bank.give(100)
            assert len(bank.book.acked) < 5_000
        await eventually(lambda: not site.node.wallet.usable, WAIT_S, "the other node's look at the log")
        assert (await viewer.gift())["reason"] == "wallet_unavailable"
        assert (await viewer.ask("chat.send", text="still here"))["type"] == "ok"
        await journal_runs_until(bank, lambda: bank.node.store.usable and site.node.wallet.usable)
        assert (await viewer.gift())["type"] == "ok"
    finally:
        await site.stop()
    await bank.resolve()
    await bank.drain()
    assert bank.book.acked.keys() <= bank.gift_rows().keys()
    report = await bank.audit()
    assert (report.ok, report.not_compared) == (True, {})


async def journal_runs_until(bank: Bank, well: Callable[[], bool]) -> None:
    """Run the journal's drain until this is true."""
    stopping = asyncio.Event()
    async with bank.draining() as drain:
        running = asyncio.create_task(drain.run(stopping))
        try:
            await eventually(lambda: running.done() or well(), WAIT_S, "a wallet that can be used")
        finally:
            stopping.set()
            await running
