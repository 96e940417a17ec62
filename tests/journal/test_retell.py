"""The journal shows, once, the gifts that no node showed; and the log is trimmed when both are done with it."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import func, select

from server import limits
from server.clock import Clock
from server.journal.database import reading
from server.journal.tables import entries
from server.processes.retell import Noted
from server.store import keys
from server.store.client import StoreDown, StoreError
from tests.conftest import Stores
from tests.journal.ledger import drained, forged, log_ids, pay
from tests.program import eventually
from tests.site import WAIT_S, Site, new_gift_id

AnotherSite = Callable[[], Awaitable[Site]]
pytestmark = pytest.mark.parametrize("journal", ["sqlite"], indirect=True)  # these tests run no SQL of their own


async def test_a_gift_that_no_room_saw_is_shown_once(site: Site, another_site: AnotherSite, stores: Stores) -> None:
    """A node died after it took the money: the journal shows the gift once, even with other journals."""
    viewers = [await site.join("bob"), await (await another_site()).join("carol", codec="msgpack")]
    id = await pay(site, "alice", 30, count=3, combo="c")
    async with site.draining() as early:
        await early.retell_once()  # the node itself gets a moment to show it
        assert early.retold == 0
    async with site.draining(ahead_s=5) as drain, site.draining(ahead_s=5) as another:
        await asyncio.gather(drain.retell_once(), another.retell_once())
        await drain.retell_once()
        assert drain.retold + another.retold == 1
    async with site.draining(ahead_s=9) as restarted:
        await restarted.retell_once()
        assert restarted.retold == 0
    for viewer in viewers:
        event = await viewer.happened("gifts.sent", id=id)
        assert (event["coins"], event["count"], event["combo"]) == (30, 3, {"id": "c", "count": 3})
        end = await viewer.ask("chat.send", text=f"{viewer.codec}: that is all")
        await viewer.happened("chat.sent", id=end["id"])
        assert len(viewer.events("gifts.sent")) == 1
        await viewer.happened(
            "board.changed", top=[{"rank": 1, "user": {"user_id": "alice", "name": "Alice"}, "coins": 30}]
        )
    with stores.room.client() as look:
        assert look.hget(keys.room("demo", keys.META), "coins") == "30"


async def test_a_gift_that_was_shown_is_not_shown_again(site: Site) -> None:
    """The journal does not show a gift that the node has shown."""
    alice = await site.join("alice")
    reply = await alice.gift("coffee", 1)
    await alice.happened("gifts.sent", id=reply["id"])
    async with site.draining(ahead_s=5) as drain:
        await drain.retell_once()
        assert drain.retold == 0
    assert len(alice.events("gifts.sent")) == 1


async def test_a_sender_that_asks_again_shows_it_too(site: Site) -> None:
    """The sender's retry and the journal may both show it: the room sees it once."""
    alice = await site.join("alice")
    reply = await alice.gift("coffee", 1)
    async with site.draining(ahead_s=5) as drain:
        await asyncio.gather(drain.retell_once(), alice.gift("coffee", 1, id=reply["id"]))
    end = await alice.ask("chat.send", text="that is all")
    await alice.happened("chat.sent", id=end["id"])
    assert len(alice.events("gifts.sent")) == 1


async def test_gifts_that_cannot_be_shown_hold_up_nobody(site: Site, stores: Stores) -> None:
    """Skip a gift whose room is gone, and one that cannot be decoded."""
    bob = await site.join("bob")
    await site.give_coins("mallory", 100)
    await pay(site, "mallory", 5, room="gone")
    unreadable = {
        "kind": "gift",
        "id": new_gift_id(),
        "viewer": "mallory",
        "creator": "creator",
        "coins": 5,
        "diamonds": 1,
    }
    forged(stores, "mallory", {"t": "1", "b": "90", "d": "3", "k": "0", "e": str(unreadable).replace("'", '"')})
    last = await pay(site, "alice", 5)
    async with site.draining(ahead_s=5) as drain:
        await drain.retell_once()
        await drain.retell_once()
        assert drain.retold == 1
    await bob.happened("gifts.sent", id=last)


async def test_a_room_store_that_lost_everything(site: Site, stores: Stores) -> None:
    """The room store keeps how far gifts were shown; if it is emptied, gifts are shown again."""
    id = await pay(site, "alice", 5)
    async with site.draining(ahead_s=5) as drain:
        await drain.retell_once()
        with stores.room.client() as look:
            of = look.hget(keys.room("demo", keys.META), "broadcast")
            look.flushall()
            await site.put_room("demo")
            look.hset(keys.room("demo", keys.META), "broadcast", str(of))
        with contextlib.suppress(StoreError):
            await drain.retell_once()
    async with site.draining(ahead_s=5) as restarted:
        await restarted.retell_once()
        assert restarted.retold == 1
    bob = await site.join("bob", since="another:0")
    assert bob.welcome["room"]["coins"] == 5 or await bob.happened("gifts.sent", id=id)


async def test_the_log_is_trimmed_behind_the_journal(
    site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep a tail of what is journaled and shown; never cut what is not."""
    monkeypatch.setattr(limits, "TRIM_EVERY_S", 0)
    log = keys.log(keys.partition_of("alice"))
    await asyncio.gather(*(pay(site, "alice", 1) for _ in range(400)))
    with stores.wallet.client() as look:
        async with site.draining(ahead_s=5, tail=50) as drain:
            await drained(drain)
            assert look.xlen(log) == 402  # with the open and topup entries: journaled, but not shown
            await drain.retell_once()
            await drained(drain)
            await drain.drain_once()
            assert 50 <= look.xlen(log) < 300
            await pay(site, "alice", 1)
            assert await drained(drain) == 1
        assert look.xrevrange(log, count=1)[0][0] == "1-402"
    with reading(site.node.engine).connect() as connection:
        count = select(func.count()).select_from(entries).where(entries.c.kind == "gift")
        assert connection.execute(count).scalar_one() == 401
    assert await site.coins("alice") == 10_000 - 401


async def test_the_tail_outlives_restarts(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each restart of the store begins an epoch; the tail of earlier epochs stays, and what is older goes."""
    monkeypatch.setattr(limits, "TRIM_EVERY_S", 0)
    partition = keys.partition_of("alice")
    log = keys.log(partition)
    await asyncio.gather(*(pay(site, "alice", 1) for _ in range(130)))
    with stores.wallet.client() as look:
        async with site.draining(ahead_s=5, tail=50) as drain:
            for epoch in range(2, 6):
                look.hset(keys.wallet_meta(partition), "opened", "another store")
                site.node.wallet._store.reopen()
                await eventually(lambda epoch=epoch: look.xrevrange(log, count=1)[0][0] == f"{epoch}-0", WAIT_S, "open")
                await drained(drain)
                await drain.retell_once()
                await drain.drain_once()
                assert look.xlen(log) == 51, epoch
            await pay(site, "alice", 1)
            await drained(drain)
        ids = [id for id, _ in look.xrange(log)]
    assert (ids[0], ids[-1]) == ("1-85", "5-1")


async def test_the_tail_across_epochs(site: Site, stores: Stores) -> None:
    """It counts what is journaled of the newest epoch. Nothing goes while the journal is an epoch behind."""
    ids = ["1-0", *(f"7-{n}" for n in range(20)), *(f"8-{n}" for n in range(10))]
    with stores.wallet.client() as look:
        for id in ids[1:]:
            look.xadd(keys.log(5), {"e": ""}, id=id)
        async with site.draining(tail=15) as drain:
            for mark, first in (((7, 5), "1-0"), ((8, 5), "7-0"), ((8, 5), "7-10"), ((8, 5), "7-10")):
                await drain._trim_older(5, *mark)
                assert [id for id, _ in look.xrange(keys.log(5))] == ids[ids.index(first) :], mark


class Later:
    """A clock that the test moves ahead."""

    def __init__(self) -> None:
        self.by_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.by_s


def reads_of(stores: Stores) -> int:
    """How many range reads of its logs the wallet store has served."""
    with stores.wallet.client() as look:
        return int(look.info("commandstats").get("cmdstat_xrange", {"calls": 0})["calls"])


async def test_what_was_shown_is_read_once(site: Site, stores: Stores) -> None:
    """The journal reuses what the drain has read: it reads no log again, for waiting or for shown gifts."""
    alice, later = await site.join("alice"), Later()
    reply = await alice.gift("coffee", 1)
    await alice.happened("gifts.sent", id=reply["id"])
    async with site.draining() as drain:
        drain._retell._clock = Clock(later)
        await drain.retell_once()  # only the first round reads the logs itself
        await drain.drain_once()
        before = reads_of(stores)
        for later.by_s in (0, 0, 5, 5):
            await pay(site, "alice", 1)
            await drain.drain_once()
            await drain.retell_once()
        assert (
            reads_of(stores) - before == 4 * limits.WALLET_PARTITIONS + 2
        )  # one read for each: the three that waited, and the last
        assert drain.retold == 4


async def test_more_gifts_than_are_remembered(site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Young gifts that do not fit into memory are read from the log later; each is shown once."""
    monkeypatch.setattr(limits, "RETELL_NOTED_MAX", 3)
    monkeypatch.setattr(limits, "DRAIN_BATCH", 2)
    bob, later = await site.join("bob"), Later()
    async with site.draining() as drain:
        drain._retell._clock = Clock(later)
        await drain.retell_once()
        ids = [await pay(site, "alice", 1) for _ in range(20)]
        while await drain.drain_once():
            await drain.retell_once()
            assert max(map(len, drain._retell._noted.values())) < 3 + 2
        assert drain.retold == 0
        later.by_s = 5
        while drain.retold < len(ids):
            await drain.retell_once()
    for id in ids:
        await bob.happened("gifts.sent", id=id)


async def test_a_backlog_is_told_while_it_is_journaled(
    site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rooms see gifts before the backlog ends, and the journal does not wait for a missing room store."""
    monkeypatch.setattr(limits, "DRAIN_BATCH", 2)
    bob = await site.join("bob")
    ids = [await pay(site, "alice", 1) for _ in range(20)]
    async with site.draining(ahead_s=5) as drain:
        assert await drain.drain_once() > 0
        assert 0 < drain.retold < len(ids)
        ask = drain._retell._not_shown

        async def away(*_: object) -> dict[int, list[Noted]]:
            raise StoreDown("away")

        monkeypatch.setattr(drain._retell, "_not_shown", away)
        assert await drained(drain) > 0
        assert drain.journaled == len(log_ids(stores))
        assert drain.retold < len(ids)
        monkeypatch.setattr(drain._retell, "_not_shown", ask)
        while drain.retold < len(ids):
            await drain.retell_once()
    for id in ids:
        await bob.happened("gifts.sent", id=id)
    assert len(bob.events("gifts.sent")) == len(ids)
