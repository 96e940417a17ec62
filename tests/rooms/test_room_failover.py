"""A replica takes over the room store: no event arrives twice or in part, and every paid gift is shown once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from server.store.embedded import ROOM
from tests.hall import Hall
from tests.pair import Pair
from tests.program import eventually
from tests.site import WAIT_S, Site


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with Pair.running(ROOM) as made:
        yield made


@pytest.fixture
async def hall(pair: Pair, another_site: Callable[..., Awaitable[Site]]) -> Hall:
    """The demo room on two nodes whose room store is the pair's current primary."""
    made = await Hall.opened([await another_site(LIVEROOM_ROOM_URL=pair.address) for _ in range(2)])
    await made.says("hello")
    await pair.until_in_step()
    return made


async def test_a_replica_in_step_takes_over(pair: Pair, hall: Hall) -> None:
    """Without a primary chat is refused and gifts are paid; then everybody comes back and all gifts are shown."""
    chats, gifts = await hall.says("before"), await hall.gives()
    await hall.is_shown(gifts)
    await pair.until_in_step()
    pair.primary.kill()
    await hall.is_refused()
    gifts += await hall.gives()
    await hall.is_refused()
    pair.promote()
    await hall.comes_back()
    chats += await hall.says("after", "and after that")
    async with hall.sites[0].draining(ahead_s=10) as drain:  # the journal shows what the nodes could not
        await drain.drain_once()
        await drain.retell_once()
        assert drain.retold == 2
    await hall.is_shown(gifts[2:])
    chats += await hall.says("that is all")
    hall.assert_one_order()
    with pair.primary.client() as look:
        hall.assert_history(look, chats, gifts)


async def test_a_replica_that_lags_takes_over(pair: Pair, hall: Hall) -> None:
    """What only the dead primary had becomes a gap, new seqs have a new epoch, and lost gifts are shown again."""
    async with hall.sites[0].draining(ahead_s=10) as drain:
        pair.replication.freeze()
        await hall.says("lost", "lost too", "lost as well")
        gifts = await hall.gives()
        await hall.is_shown(gifts)
        await drain.drain_once()
        await drain.retell_once()
        assert drain.retold == 0  # the journal has seen that they were shown
        pair.primary.kill()
        pair.promote()
        await hall.comes_back()
        chats = await hall.says("after")
        hall.assert_seqs_again()
        await drain.retell_once()
        assert drain.retold == 2
    await hall.is_shown(gifts)
    chats += await hall.says("that is all")
    hall.assert_one_order()
    with pair.primary.client() as look:
        hall.assert_history(look, chats, gifts)


async def test_a_primary_that_was_a_replica_for_a_moment(pair: Pair, hall: Hall) -> None:
    """It is the same process, yet it has lost what its own primary never had: a new epoch, and a gap."""
    pair.replication.freeze()
    await hall.says("lost", "lost too", "lost as well")
    with pair.primary.client() as primary, pair.replica.client() as replica:
        replica.replicaof("NO", "ONE")
        primary.replicaof("127.0.0.1", pair.replica.port)
        pair.front.cut()
        await eventually(lambda: primary.info("replication").get("master_link_status") == "up", WAIT_S, "a full copy")
        primary.replicaof("NO", "ONE")
        pair.front.cut()
    await hall.comes_back()
    await hall.says("after")
    hall.assert_seqs_again()


async def test_an_address_that_leads_to_a_replica_first(pair: Pair, hall: Hall) -> None:
    """Nodes that reach it before it is promoted wait for the promotion; nothing is written in the old epoch."""
    pair.replication.freeze()
    await hall.says("lost", "lost too", "lost as well")
    pair.primary.kill()
    with pair.replica.client() as replica:
        pair.front.target = pair.replica.port
        await eventually(lambda: _turned_away(replica) >= 4, WAIT_S, "nodes that try")
        await hall.is_refused()
        replica.replicaof("NO", "ONE")
    await hall.comes_back()
    await hall.says("after")
    hall.assert_seqs_again()


async def test_a_primary_that_becomes_the_replica(pair: Pair, hall: Hall) -> None:
    """Its connections stay open.

    Its answers show nodes that it accepts no writes, and they connect to the address again.
    """
    chats = await hall.says("before")
    await pair.until_in_step()
    with pair.primary.client() as primary, pair.replica.client() as replica:
        replica.replicaof("NO", "ONE")
        primary.replicaof("127.0.0.1", pair.replica.port)
    pair.primary, pair.replica = pair.replica, pair.primary
    pair.front.target = pair.primary.port
    await hall.is_refused()
    await hall.comes_back()
    chats += await hall.says("after")
    gifts = await hall.gives()
    await hall.is_shown(gifts)
    hall.assert_one_order()
    with pair.primary.client() as look:
        hall.assert_history(look, chats, gifts)


def _turned_away(replica: Any) -> int:
    """How often it was asked to write."""
    return int(replica.info("errorstats").get("errorstat_READONLY", {}).get("count", 0))
