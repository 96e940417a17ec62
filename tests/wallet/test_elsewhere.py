"""Gifts that this store cannot answer at once: the partition is not open, or nobody knows whether they were paid."""

import asyncio
from typing import Any

import pytest

from protocol.refusals import Refused
from server.store import keys
from tests.money import Purse, a_gift


async def test_a_partition_that_is_not_open_refuses(purse: Purse) -> None:
    """A single store has no other primary: what is not open here is refused, and may be sent again."""
    await purse.buy("alice", 100)
    epoch = purse.store.epochs.pop(keys.partition_of("alice"))
    assert await purse.outcome(a_gift("alice")) == "wallet_unavailable"
    with pytest.raises(Refused, match="wallet_unavailable"):
        await purse.buy("alice", 100)
    purse.store.epochs[keys.partition_of("alice")] = epoch
    assert await purse.outcome(a_gift("alice")) == "ok 90"


async def test_gifts_of_one_call_and_a_partition_that_is_not_open(purse: Purse) -> None:
    """It refuses its own gifts, and those that share their call are paid."""
    for user in ("alice", "bob", "carol"):
        await purse.buy(user, 100)
    purse.store.epochs.pop(keys.partition_of("alice"))
    sent = [a_gift(user) for user in ("bob", "alice", "carol", "alice")]
    assert await purse.outcomes(*sent) == ["ok 90", "wallet_unavailable", "ok 90", "wallet_unavailable"]


async def test_only_a_found_receipt_is_confirmed(purse: Purse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a receipt that was found is confirmed, and it is found at once."""
    asked = 0
    confirmed = purse.store.read_confirmed

    async def counted(*commands: Any) -> list[Any]:
        nonlocal asked
        asked += 1
        return await confirmed(*commands)

    monkeypatch.setattr(purse.store, "read_confirmed", counted)
    await purse.buy("alice", 100)
    gift = a_gift("alice")
    assert await purse.wallet.find("alice", gift.gift_id) is None
    assert asked == 0
    assert await purse.outcome(gift) == "ok 90"
    found = await purse.wallet.find("alice", gift.gift_id)
    assert found is not None
    assert (found.balance, asked) == (90, 1)


async def test_a_gift_under_way_is_not_called_unpaid(purse: Purse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody asks while this node sends the gift: the answer comes after it, even if a first look finds nothing."""
    await purse.buy("alice", 100)

    async def too_early(*_command: Any) -> None:
        return None

    monkeypatch.setattr(purse.store, "read", too_early)
    gift = a_gift("alice")
    paying = asyncio.create_task(purse.outcome(gift))
    while not purse.wallet._sent:
        await asyncio.sleep(0)
    found = await purse.wallet.find("alice", gift.gift_id)
    assert found is not None
    assert (found.balance, await paying) == (90, "ok 90")
    assert await purse.wallet.find("alice", gift.gift_id) is None, "once it is answered, a look is enough"
