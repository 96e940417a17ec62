"""The log of one partition is deleted in the wallet store, and its other keys stay: nothing is paid or put back."""

from collections.abc import AsyncIterator

import pytest
from redis import Redis

from protocol.refusals import Refused
from server import limits
from server.entries import LimitEntry
from server.journal.tables import quarantine
from server.store import keys
from tests.conftest import Stores
from tests.journal.ledger import drained, pay, rows
from tests.money import Purse, a_gift, assert_conserved
from tests.program import eventually
from tests.site import WAIT_S, Site

ALICE = keys.partition_of("alice")
GONE = "its log was deleted"
LIMIT = LimitEntry(id="limit", viewer="alice", coins_per_day=5, ordered_ms=1, fp="limit")


@pytest.fixture
async def purse(site: Site, stores: Stores) -> AsyncIterator[Purse]:
    """A node's wallet, after some journaled money."""
    for user in ("alice", "bob"):
        await site.give_coins(user, 100)
        await pay(site, user, 10)
    async with site.draining() as drain:
        await drained(drain)
    purse = Purse(site.settings, stores.wallet)
    yield purse
    await purse.stop()


def held(look: Redis) -> tuple[object, ...]:
    """What alice's partition has, but for its flags."""
    about = look.hgetall(keys.wallet_meta(ALICE))
    totals = {name: about.get(name) for name in ("bought", "coins", "diamonds")}
    return totals, look.hgetall(keys.wallet("alice")), look.exists(keys.log(ALICE))


async def closed(purse: Purse) -> None:
    await eventually(lambda: ALICE in purse.store.closed, WAIT_S, "a closed partition")
    await purse.wallet.wait_up(WAIT_S)


@pytest.mark.parametrize("order", ["gift", "top-up", "limit"])
async def test_nothing_is_paid_without_a_log(purse: Purse, site: Site, order: str) -> None:
    """What was written to a new log would get ids that the journal has passed, and would never be journaled."""
    await purse.start()
    purse.look.delete(keys.log(ALICE))
    before = held(purse.look)
    if order == "gift":
        assert await purse.outcome(a_gift("alice")) == "wallet_unavailable"
    else:
        with pytest.raises(Refused, match="wallet_unavailable"):
            await (purse.buy("alice", 5) if order == "top-up" else purse.wallet.order(LIMIT))
    await closed(purse)
    assert held(purse.look) == before
    assert await purse.outcome(a_gift("bob")) == "ok 10080"


async def test_a_deleted_log_is_not_filled(purse: Purse, site: Site) -> None:
    """The totals and the day's spending would count twice. When the other keys are gone, too, the journal fills it."""
    purse.look.delete(keys.log(ALICE))
    before = held(purse.look)
    await purse.start()
    await purse.store.open_closed()
    assert GONE in str(purse.store.closed[ALICE])
    assert list(purse.store.closed) == [ALICE]
    assert held(purse.look) == before
    [found] = rows(site.node.engine, quarantine)
    assert (found.partition, GONE in found.reason) == (ALICE, True)

    purse.look.delete(*purse.look.scan_iter(keys.all_of(ALICE), count=10_000))
    await purse.store.open_closed()
    await eventually(lambda: len(purse.store.epochs) == limits.WALLET_PARTITIONS, WAIT_S, "all partitions")
    assert await purse.holds("alice") == 10_090
    assert_conserved(purse.look)
