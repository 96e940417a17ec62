"""The wallet store and the journal are killed again and again: no gift is lost, none is paid twice."""

import pytest

from tests.torture import rounds
from tests.torture.bank import Bank


@pytest.mark.timeout(rounds(60, 600))
async def test_every_gift_is_paid_once_whatever_is_killed(bank: Bank) -> None:
    """Store and journal die at any moment: answered gifts are journaled, others get their outcome by id."""
    journal = bank.journal_process()
    async with bank.giving(24):
        for cycle in range(rounds(4, 20)):
            await bank.more(bank.random.randint(20, 400))
            await bank.kill_store()
            if cycle % 2:
                await bank.kill_soon(journal)
                journal = bank.journal_process()
            bank.store.start()
    acked = set(bank.book.acked)
    assert bank.lost(acked) == []
    await bank.resolve()
    await bank.until_journaled()
    assert acked <= bank.gift_rows().keys() <= bank.book.sent.keys()
    journal.terminate()
    assert journal.wait(20) == 0
    await bank.check()
