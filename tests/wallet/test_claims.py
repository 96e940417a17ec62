"""Claims: a top-up's id belongs to one order, whatever the journal remembers."""

import asyncio

import pytest

from protocol.refusals import Refused
from server.journal.tables import topups
from server.money.results import TopUpConflict
from server.store import keys
from tests.journal.ledger import rows
from tests.money import Purse


async def test_an_id_belongs_to_the_first_order(purse: Purse) -> None:
    """The same order may claim it again, another may not; the store's clock does not end the claim."""
    claim = purse.wallet.claim
    assert [await claim("t-1", print_) for print_ in ("first", "second", "first")] == [True, False, True]
    assert purse.look.ttl(keys.claim("t-1")) == -1


async def test_one_of_many_orders_gets_the_id(purse: Purse, another_purse: Purse) -> None:
    """Many orders at once, over two nodes: one has it."""
    wallets = (purse.wallet, another_purse.wallet)
    won = await asyncio.gather(*(wallets[n % 2].claim("t-1", f"order {n}") for n in range(20)))
    assert sum(won) == 1


async def test_an_order_that_lost_its_id_leaves_no_row(purse: Purse) -> None:
    """A row of it would wait forever, and would stand in the way of the order that has the id."""
    assert await purse.wallet.claim("t-1", "another order")
    with pytest.raises(TopUpConflict):
        await purse.buy("alice", 100, "t-1")
    assert rows(purse.engine, topups) == []
    assert await purse.holds("alice") == 0


async def test_no_claim_without_a_store(purse: Purse) -> None:
    """An order waits until the store can say whose the id is."""
    await purse.store.stop()
    with pytest.raises(Refused, match="wallet_unavailable"):
        await purse.wallet.claim("t-1", "first")
