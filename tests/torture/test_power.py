"""Power cuts and disk failures: what was answered is on disk, and what is not on disk was not answered."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from protocol.refusals import Refusal, Refused
from tests.program import eventually
from tests.site import Site
from tests.stores import settings
from tests.torture import rounds
from tests.torture.bank import WAIT_S, Bank

MakeBank = Callable[..., Awaitable[Bank]]


async def power_cut(bank: Bank) -> int:
    """Drop the store and what it never synced, and start it from the rest. Returns the number of lost bytes."""
    await bank.kill_store()
    lost = bank.power.cut(bank.data)
    bank.store.start()
    return lost


@pytest.mark.timeout(rounds(60, 300))
async def test_a_power_cut_takes_no_answered_gift(cut_bank: MakeBank) -> None:
    """At every cut all answered gifts are on disk, and the bank's sums are right at the end."""
    bank = await cut_bank()
    lost = 0
    async with bank.giving(24):
        for _ in range(rounds(3, 25)):
            await bank.more(bank.random.randint(20, 300))
            acked = set(bank.book.acked)
            lost += await power_cut(bank)
            assert bank.lost(acked) == []
    assert bank.lost(bank.book.acked) == []
    await bank.resolve()
    await bank.check()


async def test_a_power_cut_takes_answered_gifts_of_a_store_that_syncs_later(cut_bank: MakeBank) -> None:
    """The control: with `everysec`, which the guard refuses, answered gifts are lost and the shim shows it."""
    bank = await cut_bank("--appendfsync", "everysec", LIVEROOM_WALLET_GUARD="relaxed")
    await eventually(bank.power.safe, WAIT_S, "a first sync")
    bank.power.control.hold = 1
    await bank.give(50)
    assert bank.book.unknown == []
    await power_cut(bank)
    bank.power.control.hold = 0
    assert set(bank.lost(bank.book.acked)) == bank.book.acked.keys()


async def test_a_power_cut_in_a_rewrite_takes_nothing(cut_bank: MakeBank) -> None:
    """While the store rewrites its append-only file it writes two of them: both count."""
    bank = await cut_bank("--rdb-key-save-delay", "200")
    async with bank.giving(24):
        await bank.more(100)
        with bank.look() as look:
            look.bgrewriteaof()
            await eventually(lambda: look.info("persistence")["aof_rewrite_in_progress"], WAIT_S, "a rewrite")
            await bank.more(50)
            assert look.info("persistence")["aof_rewrite_in_progress"]
        await power_cut(bank)
        await bank.more(20)
    assert bank.lost(bank.book.acked) == []
    await bank.resolve()
    await bank.check()


async def test_no_gift_is_answered_before_it_is_synced(cut_bank: MakeBank, journal: str) -> None:
    """While the disk hangs, the wallet does not answer; chat on the room store goes on."""
    bank = await cut_bank()
    site = Site(settings(bank.folder, LIVEROOM_JOURNAL_URL=journal, **bank.environ))
    await site.start()
    try:
        viewer = await site.join("alice", "bot")
        bank.power.control.hold = 1
        await viewer.tell({"type": "gifts.send", "ref": "gift", "id": bank.gift().gift_id, "gift": "rose", "count": 1})
        await eventually(lambda: bank.power.control.held, WAIT_S, "an fsync")
        for n in range(10):
            assert (await viewer.ask("chat.send", text=f"still here {n}"))["type"] == "ok"
        assert [message for message in viewer.told if message.get("ref") == "gift"] == []
        bank.power.control.hold = 0
        assert (await viewer.happened("ok", ref="gift"))["coins"] == 9_999
    finally:
        bank.power.control.hold = 0
        await site.stop()


async def test_a_slow_disk_slows_gifts_and_loses_none(cut_bank: MakeBank) -> None:
    """With fsyncs of half a second, gifts share a few of them, and a power cut takes none."""
    bank = await cut_bank()
    bank.power.control.slow_us = 500_000
    before = bank.power.control.fsyncs
    await bank.give(150)
    assert bank.book.unknown == []
    assert bank.power.control.fsyncs - before <= 5
    await power_cut(bank)
    bank.power.control.slow_us = 0
    assert bank.lost(bank.book.acked) == []


@pytest.mark.parametrize("trouble", ["eio_at", "full_at"])
async def test_a_disk_that_fails(cut_bank: MakeBank, trouble: str) -> None:
    """An fsync fails or the disk is full: the store ends, no unsynced gift was answered, and gifts go on later."""
    bank = await cut_bank()
    control, store = bank.power.control, bank.store.process
    assert store is not None
    control.full_at = 1_000_000  # count writes from here on
    async with bank.giving(24):
        for _ in range(rounds(2, 10)):
            counted = control.fsyncs if trouble == "eio_at" else control.writes
            setattr(control, trouble, counted + bank.random.randint(3, 30))
            await eventually(lambda store=store: store.poll() is not None, WAIT_S, "the store's end")
            assert store.returncode == 1
            acked = set(bank.book.acked)
            bank.power.cut(bank.data)
            bank.store.start()
            store = bank.store.process
            assert store is not None
            assert bank.lost(acked) == []
    await bank.resolve()
    await bank.check()


async def test_a_wallet_whose_disk_hangs_refuses_after_a_while(
    cut_bank: MakeBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gift that waits too long is refused as wallet_unavailable, and has its outcome once the disk is back."""
    monkeypatch.setattr("server.limits.STORE_CALL_S_MAX", 1.0)
    monkeypatch.setattr("server.limits.SPEND_WAIT_S", 1.0)
    bank = await cut_bank()
    bank.power.control.hold = 1
    gift = bank.gift()
    outcome = await asyncio.wait_for(bank.node.send(gift), WAIT_S)
    assert isinstance(outcome, Refused)
    assert outcome.reason is Refusal.WALLET_UNAVAILABLE
    bank.power.control.hold = 0
    await bank.resolve()
    assert gift.gift_id in bank.book.acked
    await bank.check()
