"""The money path on a cluster of three primaries: how it spreads, a slot that moves under load, a primary that dies."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from protocol.refusals import Refused
from server import limits
from server.journal import database
from server.money.cluster import ClusterWallet
from server.store import keys
from server.store.topology import Topology
from tests.cluster import Cluster
from tests.conftest import Stores
from tests.money import a_gift
from tests.program import eventually
from tests.site import Site, new_gift_id
from tests.stores import settings

VIEWERS = [f"viewer-{n}" for n in range(48)]


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old primary is dead or has lost the slot: tests/wallet/test_fence.py has the wait."""
    monkeypatch.setattr(limits, "FENCE_WAIT_S", 0.0)


@pytest.fixture
async def site(cluster: Cluster, stores: Stores, tmp_path: Path) -> AsyncIterator[Site]:
    """A node with an empty cluster as its wallet store."""
    for node in cluster.nodes:
        node.client.flushall()
    journal = f"sqlite:///{tmp_path / 'journal.sqlite3'}"
    engine = database.connect(journal)
    database.migrate(engine)
    engine.dispose()
    site = Site(
        settings(
            tmp_path,
            LIVEROOM_WALLET_URL=cluster.url,
            LIVEROOM_ROOM_URL=f"unix://{stores.room.socket}",
            LIVEROOM_JOURNAL_URL=journal,
            LIVEROOM_LOG="warning",
        )
    )
    await site.start()
    yield site
    await site.stop()


async def give(site: Site, viewers: list[str], until: asyncio.Event) -> dict[str, tuple[str, int]]:
    """Each viewer sends gifts of one coin, one after the other. Returns the acked gifts by id."""
    acked: dict[str, tuple[str, int]] = {}

    async def one(user: str) -> None:
        viewer = await site.join(user)
        while not until.is_set():
            reply = await viewer.insist("gifts.send", gift="rose", count=1, id=new_gift_id())
            acked[reply["id"]] = (user, reply["coins"])

    await asyncio.gather(*(one(user) for user in viewers))
    return acked


async def test_partitions_are_spread(cluster: Cluster, site: Site) -> None:
    """Every primary has 21 or 22 of the 64 partitions, and gifts in all of them are paid."""
    for user in VIEWERS:
        await site.give_coins(user, 100)
    acked = []
    for user in VIEWERS:
        viewer = await site.join(user)
        acked.append((await viewer.gift("heart", 2))["coins"])
    assert acked == [90] * len(VIEWERS)
    counts = [sum(1 for key in node.client.keys("*") if key.endswith(":log")) for node in cluster.nodes]
    assert sorted(counts) == [21, 21, 22]
    await site.settled()


async def test_a_slot_moves_under_load(cluster: Cluster, site: Site) -> None:
    """A slot moves away and back while gifts are sent: each acked gift is paid once, none is lost."""
    user = VIEWERS[0]
    slot = keys.slot(keys.PARTITION_TAGS[keys.partition_of(user)])
    viewers = VIEWERS[:12]
    for each in viewers:
        await site.give_coins(each, 100_000)
    done = asyncio.Event()
    giving = asyncio.create_task(give(site, viewers, done))
    home = cluster.owner(slot)
    away = next(node for node in cluster.nodes if node is not home)
    for target in (away, home):
        await asyncio.to_thread(cluster.move, slot, target)
        assert (await (await site.join(user)).gift("rose"))["type"] == "ok"
    done.set()
    acked = await asyncio.wait_for(giving, 30)
    assert any(user == who for who, _ in acked.values())
    extra = 2  # the gifts sent between the two moves
    spent = sum([100_000 - await site.coins(each) for each in viewers])
    assert spent == len(acked) + extra
    await site.settled()


async def test_a_primary_dies_and_comes_back(cluster: Cluster, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its gifts are soon refused while it is away; the other primaries go on. Then the same ids are paid once."""
    for user in VIEWERS[:8]:
        await site.give_coins(user, 100)
    victim = cluster.owner(keys.slot(keys.PARTITION_TAGS[keys.partition_of(VIEWERS[0])]))
    hers = [u for u in VIEWERS[:8] if cluster.owner(keys.slot(keys.PARTITION_TAGS[keys.partition_of(u)])) is victim]
    others = [u for u in VIEWERS[:8] if u not in hers]
    assert hers
    assert others
    ids = {user: new_gift_id() for user in hers}
    victim.client.config_set("cluster-require-full-coverage", "no")
    for node in cluster.nodes:
        node.client.config_set("cluster-require-full-coverage", "no")
    victim.kill()
    with monkeypatch.context() as hasty:  # of the 40 s that a call without a sender tries
        hasty.setattr(limits, "SPEND_WAIT_S", 0.5)
        reply = await (await site.join(hers[0])).gift("rose", id=ids[hers[0]])
        assert (reply["reason"], reply["retry_after_ms"]) == ("wallet_unavailable", limits.SPEND_RETRY_MS)
    sent = [asyncio.create_task((await site.join(user)).gift("rose", id=ids[user])) for user in hers]
    for user in others:
        assert (await (await site.join(user)).gift("rose"))["type"] == "ok"
    victim.start()  # in this thread: the process dies with the thread that started it
    for user, task in zip(hers, sent, strict=True):
        reply = await task
        if reply["type"] == "refused":
            assert reply["reason"] == "wallet_unavailable"
            reply = await (await site.join(user)).insist("gifts.send", gift="rose", count=1, id=ids[user])
        assert reply["coins"] == 99
    await site.settled()


async def test_a_partition_that_cannot_be_opened(cluster: Cluster, site: Site) -> None:
    """It is refused at once, and nobody waits for another primary. The others of its primary go on."""
    hers, other = VIEWERS[0], VIEWERS[1]
    for user in (hers, other):
        await site.give_coins(user, 100)
    partition = keys.partition_of(hers)
    wallet, log = cast(ClusterWallet, site.node.wallet), keys.log(partition)
    look = cluster.owner(keys.slot(keys.PARTITION_TAGS[partition])).client
    kept = look.dump(log)
    look.delete(log)
    look.set(log, "no stream")
    store = wallet._at(partition)._store
    store.reopen()
    await eventually(lambda: store.up and wallet.closed, 10, "a closed partition")
    id = next(f"t{n}" for n in range(10_000) if keys.partition_of(f"t{n}") == partition)
    for asked in (wallet.view(hers), wallet.spend(a_gift(hers)), wallet.last_entry(partition)):
        with pytest.raises(Refused, match="wallet_unavailable"):
            await asyncio.wait_for(asked, 1)
    assert await wallet.coins(hers) is None
    assert await wallet.claim(id, "f")
    assert (await wallet.spend(a_gift(other))).balance == 90
    look.delete(log, keys.claim(id))  # the audit doubts a claim that no order has
    look.restore(log, 0, kept)
    await store.open_closed()
    await eventually(lambda: wallet.up and not wallet.closed, 10, "the partition")
    assert (await wallet.spend(a_gift(hers))).balance == 90
    await site.settled()


async def test_a_failed_callback_is_called_again(cluster: Cluster) -> None:
    """The callback may fail: it is called with the same map again until it succeeds."""
    followed = asyncio.Event()

    def follow() -> None:
        if not failed:
            failed.append(True)
            raise RuntimeError("once")
        followed.set()

    failed: list[bool] = []
    topology = Topology(cluster.url, follow)
    await topology.start()
    async with asyncio.timeout(10):
        await followed.wait()
    await topology.stop()
