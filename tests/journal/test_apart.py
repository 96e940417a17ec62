"""A partition that cannot be used, because a key of it has another type, stops no other."""

import pytest

from server import limits
from server.journal.tables import entries
from server.store import keys
from tests.conftest import Stores
from tests.journal.ledger import drained, pay, rows
from tests.site import Site

BROKEN = keys.partition_of("alice")


@pytest.fixture
def broken_log(site: Site, stores: Stores) -> None:
    """Alice's partition has a string instead of a log."""
    with stores.wallet.client() as look:
        look.set(keys.log(BROKEN), "no stream")


async def test_the_others_are_journaled(
    broken_log: None, site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drain reads, trims and freezes the others, says which it cannot read, and takes it up again."""
    monkeypatch.setattr(limits, "TRIM_EVERY_S", 0)
    await pay(site, "bob", 5)
    async with site.draining() as drain:
        assert await drained(drain) > 0
        assert list(drain.unread) == [BROKEN]
        await drain.freeze({BROKEN: "a test", keys.partition_of("bob"): "a test"})
        with stores.wallet.client() as look:
            assert look.hget(keys.wallet_meta(keys.partition_of("bob")), "frozen") == "1"
            look.delete(keys.log(BROKEN))
        await drain.drain_once()
        assert drain.unread == {}
    assert [row.user_id for row in rows(site.node.engine, entries) if row.kind == "gift"] == ["bob"]


async def test_gifts_are_shown_all_the_same(broken_log: None, site: Site) -> None:
    """The journal shows what no node has shown, also in its first round."""
    bob = await site.join("bob")
    gift = await pay(site, "bob", 5)
    async with site.draining(ahead_s=5) as drain:
        await drain.retell_once()
        assert drain.retold == 1
    await bob.happened("gifts.sent", id=gift)
