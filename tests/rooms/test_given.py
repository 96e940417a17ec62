"""What was given before one of a room's events: from the journal, the once-keys and the history, each gift once."""

from collections.abc import AsyncIterator

import pytest

from server.journal.drain import Drain
from server.rooms.given import Gift, given_before
from server.rooms.room import Services
from tests.features.test_refunded import refund
from tests.journal.ledger import drained
from tests.site import Site


@pytest.fixture
async def journal_process(site: Site) -> AsyncIterator[Drain]:
    """A drain for which every entry is old enough to be shown."""
    async with site.draining(ahead_s=5) as drain:
        yield drain


def services_of(site: Site) -> Services:
    return site.node.services


def told(gifts: list[Gift]) -> list[tuple[str, str, int, int]]:
    return sorted((gift.user_id, gift.gift, gift.count, gift.coins) for gift in gifts)


async def test_each_gift_once(site: Site, journal_process: Drain) -> None:
    """Journaled or not, shown before that event or after it; without what was taken back until then."""
    alice, bob = await site.join("alice"), await site.join("bob")
    first = await alice.gift("rose", 30)
    await alice.gift("heart", 2)
    await bob.happened("gifts.sent", coins=10)
    await drained(journal_process)
    await bob.gift("rose", 4)
    seq = (await alice.happened("gifts.sent", coins=4))["seq"]
    await bob.gift("rose", 5)
    await alice.happened("gifts.sent", coins=5)
    services = services_of(site)
    wanted = [("alice", "heart", 2, 10), ("alice", "rose", 30, 30), ("bob", "rose", 4, 4)]
    assert told(await given_before(services, "demo", seq, 0)) == wanted
    await drained(journal_process)
    assert told(await given_before(services, "demo", seq, 0)) == wanted
    await refund(site, journal_process, first["id"])
    back = (await bob.happened("gifts.refunded"))["seq"]
    assert told(await given_before(services, "demo", seq, 0)) == wanted  # it was taken back later
    after = [("alice", "heart", 2, 10), ("alice", "rose", 0, 0), ("bob", "rose", 4, 4), ("bob", "rose", 5, 5)]
    assert told(await given_before(services, "demo", back, 0)) == after
