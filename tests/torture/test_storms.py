"""Callers that cancel by the thousand, and a store that freezes: no caller ever gets another's answer."""

import asyncio
import os
import signal

import pytest

from protocol.refusals import Refusal, Refused
from tests.program import eventually
from tests.torture import rounds
from tests.torture.bank import WAIT_S, Bank


@pytest.mark.timeout(rounds(60, 300))
async def test_cancelled_senders_shift_no_answer(bank: Bank) -> None:
    """Thousands cancel at any moment; the others get the balance of their own gift, as the journal has it."""
    for _ in range(rounds(3, 40)):
        tasks = [asyncio.create_task(bank.node.send(bank.gift())) for _ in range(1_000)]
        cancelled = 0
        for task in bank.random.sample(tasks, 600):
            if bank.random.random() < 0.1:
                await asyncio.sleep(0)
            cancelled += task.cancel()
        assert cancelled
        await asyncio.gather(*tasks, return_exceptions=True)
    assert bank.book.unknown
    await bank.resolve()
    await bank.check()


async def test_cancelled_readers_shift_no_answer(bank: Bank) -> None:
    """The same for callers that ask for a balance."""
    users = {f"rich{n}": 1_000 + n for n in range(40)}
    for user, coins in users.items():
        await bank.node.buy(user, coins)
    for _ in range(rounds(3, 40)):
        asked = bank.random.choices(list(users), k=1_500)
        tasks = [asyncio.create_task(bank.node.wallet.coins(user)) for user in asked]
        for task in bank.random.sample(tasks, 1_000):
            if bank.random.random() < 0.05:
                await asyncio.sleep(0)
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        told = [(user, answer) for user, answer in zip(asked, answers, strict=True) if isinstance(answer, int)]
        assert told
        assert {answer - users[user] for user, answer in told} == {0}


@pytest.mark.timeout(rounds(60, 300))
async def test_a_store_that_freezes_while_callers_cancel(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen store is dropped; what it does when it goes on is found by the ids, once."""
    monkeypatch.setattr("server.limits.STORE_CALL_S_MAX", 1.0)
    monkeypatch.setattr("server.limits.SPEND_WAIT_S", 1.0)
    for _ in range(rounds(1, 10)):
        assert bank.store.process is not None
        async with bank.giving(24):
            await bank.more(100)
            os.kill(bank.store.process.pid, signal.SIGSTOP)
            try:
                tasks = [asyncio.create_task(bank.node.send(bank.gift())) for _ in range(500)]
                for task in bank.random.sample(tasks, 250):
                    task.cancel()
                outcomes = await asyncio.gather(*tasks, return_exceptions=True)
                refused = [each for each in outcomes if isinstance(each, Refused)]
                assert {each.reason for each in refused} == {Refusal.WALLET_UNAVAILABLE}
                await eventually(lambda: not bank.node.store.usable, WAIT_S, "a dropped connection")
            finally:
                os.kill(bank.store.process.pid, signal.SIGCONT)
            await bank.node.until_usable()
            await bank.more(50)
        await bank.resolve()
    await bank.check()
