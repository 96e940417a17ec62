"""Wrong clocks, a sender's or the store's: an id that does not fit the store's time is never paid."""

import shutil
from collections.abc import Awaitable, Callable

import pytest

from protocol.refusals import Refusal, Refused
from server.entries import LimitEntry
from server.store import keys
from tests.program import eventually
from tests.site import new_gift_id
from tests.torture.bank import WAIT_S, Bank

DAY_MS = 86_400_000
MakeBank = Callable[..., Awaitable[Bank]]


@pytest.mark.parametrize("shift_ms", [-DAY_MS, -7_230_000, 630_000, DAY_MS])
async def test_an_id_of_a_wrong_clock(bank: Bank, shift_ms: int) -> None:
    """An id from long ago or from the future has expired and is not paid; a small difference is fine."""
    await bank.give(10)
    for _ in range(3):
        outcome = await bank.node.send(bank.gift(id=new_gift_id(shift_ms)))
        assert isinstance(outcome, Refused)
        assert outcome.reason is Refusal.EXPIRED_ID
    for off_ms in (-7_100_000, -60_000, 60_000, 570_000):
        await bank.one_more("viewer1", id=new_gift_id(off_ms))
    await bank.check()


@pytest.mark.parametrize("days", [-1, 1])
async def test_a_store_whose_clock_jumps(cut_bank: MakeBank, days: int) -> None:
    """Gifts are refused as expired while the store's clock is wrong, and paid when it is right."""
    bank = await cut_bank()
    await bank.give(50)
    bank.power.control.clock_us = days * DAY_MS * 1000
    refused = [await bank.node.send(bank.gift()) for _ in range(5)]
    assert {each.reason for each in refused if isinstance(each, Refused)} == {Refusal.EXPIRED_ID}
    bank.power.control.clock_us = 0
    await bank.give(50)
    await bank.resolve()
    await bank.check()


async def test_ids_from_before_a_jump(cut_bank: MakeBank) -> None:
    """A jump of a day and back deletes the receipts: paying an id again stops its partition."""
    bank = await cut_bank()
    paid = [await bank.one_more(viewer) for viewer in bank.viewers[:-1]]
    await bank.drain()
    bank.power.control.clock_us = DAY_MS * 1000
    assert set(bank.lost(gift.gift_id for gift in paid)) == {gift.gift_id for gift in paid}
    bank.power.control.clock_us = 0
    for gift in paid:
        bank.book.forget(gift.gift_id)
    outcomes = {gift.viewer: await bank.node.send(gift) for gift in paid}
    again = {viewer for viewer, paid in outcomes.items() if not isinstance(paid, Refused) and not paid.duplicate}
    await bank.drain()
    assert bank.set_aside().keys() == {keys.partition_of(viewer) for viewer in again}


async def test_limits_of_yesterday(cut_bank: MakeBank) -> None:
    """Yesterday's raised limit applies in a store that lost everything; yesterday's spending does not count."""
    bank = await cut_bank()
    with bank.look() as look:
        today = look.time()[0] // 86_400
        bank.power.control.clock_us = -DAY_MS * 1000  # a store reads its clock about once a millisecond
        await eventually(lambda: look.time()[0] // 86_400 < today, WAIT_S, "yesterday")
    raised, kept = "viewer1", "viewer2"
    for user, order in ((raised, 50), (raised, 100), (kept, 50), (kept, 20)):
        await bank.node.wallet.order(LimitEntry(id=f"{user}-{order}", viewer=user, coins_per_day=order))
    for user, coins in ((raised, 50), (kept, 20)):
        await bank.one_more(user, coins=coins, id=new_gift_id(-DAY_MS))
        outcome = await bank.node.send(bank.gift(viewer=user, coins=1, id=new_gift_id(-DAY_MS)))
        assert isinstance(outcome, Refused)
        assert outcome.reason is Refusal.SPEND_LIMIT
    bank.power.control.clock_us = 0
    await bank.drain()
    bank.store.kill()
    shutil.rmtree(bank.data)
    bank.store.start()
    await bank.node.reconnected()
    for user, coins in ((raised, 100), (kept, 20)):
        await bank.one_more(user, coins=coins)
        outcome = await bank.node.send(bank.gift(viewer=user, coins=1))
        assert isinstance(outcome, Refused)
        assert outcome.reason is Refusal.SPEND_LIMIT
