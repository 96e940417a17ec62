"""The boards of the day, the week and all time: counted again from the journal when they are lost, each gift once."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from server import limits
from server.journal.drain import Drain
from server.rooms import tally
from server.store import keys
from tests.conftest import Stores
from tests.features.test_board_windows import board, boards, shown
from tests.features.test_refunded import refund
from tests.site import Site, new_gift_id

MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture
async def journal_process(site: Site) -> AsyncIterator[Drain]:
    """A drain for which every entry is old enough to be shown."""
    async with site.draining(ahead_s=5) as drain:
        yield drain


async def test_lost_boards_are_counted_again(
    site: Site, another_site: MakeSite, stores: Stores, journal_process: Drain
) -> None:
    """From the journal and the history, each gift once, less what was taken back; also when a node was cut off."""
    there = await another_site()
    alice, bob = await site.join("alice"), await there.join("bob")
    first = await alice.gift("rose", 30)
    await alice.gift("rose", 20)
    await shown(bob, 20)
    await refund(site, journal_process, first["id"])
    await bob.gift("rose", 7)
    await shown(alice, 7)
    before = [await boards(bob, by) for by in ("sum", "single")]
    assert before == [[[("alice", 20), ("bob", 7)]] * 4] * 2
    with stores.room.client() as client:
        lost = [key for key in client.keys("{r:demo}:tally*") if ":broadcast:" not in str(key)]
        assert len(lost) >= 8
        client.delete(*lost)
        client.set(keys.room("demo", tally.WHOLE), "~a-node-that-died")
    assert [await boards(bob, by) for by in ("sum", "single")] == before
    await alice.gift("rose", 1)
    await shown(bob, 1)
    assert (await boards(alice))[1:] == [[("alice", 21), ("bob", 7)]] * 3
    with stores.room.client() as client:
        assert client.ttl(keys.room("demo", tally.TALLY, tally.window_of("day", int(time.time() * 1000)), "sum")) > 0


async def test_all_time_has_what_is_old(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gifts that are older than a week are summed up in SQL, with names, and without refunds."""
    alice, bob = await site.join("alice"), await site.join("bob")
    for viewer, count in ((alice, 30), (alice, 5), (bob, 20)):
        await viewer.gift("rose", count)
        await shown(alice, count)
    await site.settled()
    room = site.node.rooms.here()[0]
    with stores.room.client() as client:
        client.delete(*client.keys("{r:demo}:tally*"))
    services = site.node.services
    later = services.clock.now_ms() + 30 * limits.DAY_MS
    monkeypatch.setattr(services.clock, "now_ms", lambda: later)
    await tally.fill(services, "demo", room.epoch)
    assert await board(bob, "all") == [("alice", 35), ("bob", 20)]
    assert await board(bob, "all", "single") == [("alice", 30), ("bob", 20)]
    assert await board(bob, "week") == []
    top = (await bob.ask("board.get", window="all"))["top"]
    assert [row["user"]["name"] for row in top] == ["Alice", "Bob"]


async def test_the_day_of_a_gift_is_that_of_its_id(site: Site, stores: Stores) -> None:
    """So a retry after midnight, and a gift that is shown late, count where they were given. Weeks begin on Monday."""
    alice = await site.join("alice")
    gift_id = new_gift_id(-3_600_000)
    at_ms = int(gift_id[:8] + gift_id[9:13], 16)
    await alice.gift("rose", 3, id=gift_id)
    await shown(alice, 3)
    with stores.room.client() as client:
        names = [keys.room("demo", tally.TALLY, tally.window_of(window, at_ms), "sum") for window in ("day", "week")]
        assert [client.zscore(name, "alice") for name in names] == [3, 3]
    monday = 1_767_571_200_000  # 2026-01-05
    weeks = [tally.window_of("week", monday + shift) for shift in (-1, 0, 7 * limits.DAY_MS - 1, 7 * limits.DAY_MS)]
    assert weeks[1] == weeks[2]
    assert len(set(weeks)) == 3


async def test_only_the_largest_gifts_are_kept(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a room's boards of single gifts have a bound, however many gifts there are."""
    alice = await site.join("alice")
    for count in (3, 5, 4):
        await alice.gift("rose", count)
        await shown(alice, count)
    monkeypatch.setattr(limits, "SINGLES_MAX", 2)
    room = site.node.rooms.here()[0]
    single = tally.board_key("demo", "all", "single")
    with stores.room.client() as client:
        assert client.zcard(single) == 3
        client.delete(keys.room("demo", tally.WHOLE))
        await tally.fill(site.node.services, "demo", room.epoch)
        assert [coins for _, coins in client.zrange(single, 0, -1, withscores=True)] == [4, 5]
