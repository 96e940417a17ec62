"""A simulated month: whatever people, the bank and dying processes do, everything adds up to zero at its end."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from server.journal.audit import SCRIPTS, Audit
from server.journal.moneytime import SCRIPTS as TIME_SCRIPTS
from server.store.client import Store
from tests.journal.conftest import empty_database, journal, postgres
from tests.payouts.conftest import bank as service
from tests.payouts.house import House
from tests.providers.bank import Bank as Service
from tests.torture import rounds
from tests.torture.bank import WAIT_S, Bank
from tests.torture.clocks import World
from tests.torture.month import Month

__all__ = ["empty_database", "journal", "postgres", "service"]

VIEWERS, CREATORS, GIFTS_A_DAY = rounds(40, 2_000), rounds(6, 50), rounds(25, 1_000)


@pytest.mark.parametrize("journal", rounds(["sqlite"], ["sqlite", "postgresql"]), indirect=True)
@pytest.mark.timeout(rounds(120, 400))
async def test_a_month(
    cut_bank: Callable[..., Awaitable[Bank]], journal: str, service: Service, tmp_path: Path
) -> None:
    """The audit, the trial balance and each creator's equation are right; each payout ended or says why not."""
    began = time.perf_counter()
    bank = await cut_bank(LIVEROOM_JOURNAL_URL=journal)
    wallet = Store("wallet", bank.settings.wallet_address, scripts=[*SCRIPTS, *TIME_SCRIPTS])
    await wallet.start()
    await wallet.wait_up(WAIT_S)
    try:
        world = World(bank, wallet)
        month = Month(world, House(bank.engine, service, tmp_path), VIEWERS, CREATORS, GIFTS_A_DAY)
        async with bank.draining() as drain:
            report = await month.play(drain, Audit(bank.engine, wallet, month.house.clock))
        month.check_ended()
        print(f"{month.page(report)}\n{time.perf_counter() - began:.1f} s")
        assert month.did["gifts"]
        assert any(each.state.value == "paid" for each in month.payouts())
    finally:
        await wallet.stop()
