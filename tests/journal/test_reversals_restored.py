"""An older SQL database is put back: what the store knows of a gift counts until the journal has caught up."""

from collections.abc import AsyncIterator

import pytest

from server import limits
from tests.conftest import Stores
from tests.journal.copies import copied, restored
from tests.journal.desk import Desk, a_desk
from tests.site import Site


@pytest.fixture
async def desk(site: Site, stores: Stores) -> AsyncIterator[Desk]:
    """A desk whose journal moves only when the test says so; everything must be sound after the test."""
    async with a_desk(site, f"unix://{stores.wallet.socket}") as made:
        yield made


async def test_a_refund_waits_for_the_chargeback_that_only_the_store_knows(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gift that a chargeback has taken back is not given back once more, while its entry waits in the log."""
    await desk.buy("cleo", 100, "t1")
    gift = await desk.give("cleo", 60, 30)
    await desk.journal()
    older = copied(desk.site.node.engine)
    await desk.charge_back("t1")
    restored(desk.site.node.engine, older)
    monkeypatch.setattr(limits, "JOURNALED_POLLS", 2)
    assert await desk.outcome(desk.refund(gift)) == "NotYet"
    monkeypatch.undo()
    await desk.journal()
    assert await desk.outcome(desk.refund(gift)) == "CannotReverse"
    assert await desk.holds("cleo") == 0
