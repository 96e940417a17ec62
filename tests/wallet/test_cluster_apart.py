"""One primary of a cluster is dead: orders, audits and starts go on for all other partitions, and say what does not."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from server import limits
from server.journal import database
from server.journal.audit import SCRIPTS as AUDIT_SCRIPTS
from server.journal.audit import Audit
from server.journal.memory import Memory
from server.journal.tables import topups
from server.orders.topups import TopUp
from server.store import keys
from server.store.cluster import open_store
from tests.cluster import Cluster, Primary
from tests.program import ROOT, eventually
from tests.site import WAIT_S, Site, new_gift_id

MakeSite = Callable[..., Awaitable[Site]]
PEOPLE = [f"viewer-{n}" for n in range(20)]


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a store that is dead or was restarted, and only tests look for orders."""
    monkeypatch.setattr(limits, "FENCE_WAIT_S", 0.0)
    monkeypatch.setattr(limits, "STORE_OTHERS_S", 0.2)
    monkeypatch.setattr(limits, "RECOVER_AFTER_MS", -1_000)
    monkeypatch.setattr(limits, "RECOVER_EVERY_S", 3_600)


@pytest.fixture
async def site(cluster: Cluster, another_site: MakeSite) -> Site:
    """A node whose wallet store is an empty cluster."""
    for node in cluster.nodes:
        node.client.flushall()
        node.client.config_set("cluster-require-full-coverage", "no")
    return await another_site(LIVEROOM_WALLET_URL=cluster.url)


@pytest.fixture
async def victim(cluster: Cluster, site: Site, request: pytest.FixtureRequest) -> AsyncIterator[Primary]:
    """The primary that a test kills; it is started again."""
    dying: Primary = cluster.nodes[getattr(request, "param", 1)]
    yield dying
    dying.start()  # in this thread: the process dies with the thread that started it
    await eventually(lambda: site.node.wallet.up, WAIT_S, "a wallet")


def partitions_of(cluster: Cluster, primary: Primary) -> set[int]:
    return {p for p, tag in enumerate(keys.PARTITION_TAGS) if cluster.owner(keys.slot(tag)) is primary}


async def test_orders_of_the_others_are_recovered(cluster: Cluster, site: Site, victim: Primary) -> None:
    """Recovery carries out what it can at once, and the rest when the primary is back. The node says how many wait."""
    dead = partitions_of(cluster, victim)
    node = site.node
    ids = {user: f"t-{new_gift_id()}" for user in PEOPLE}
    for user, id in ids.items():
        assert await asyncio.to_thread(node.purchases._record, user, TopUp(id, 100, "test")) is None
    victim.kill()
    await eventually(lambda: node.wallet.refusing == dead, WAIT_S, "its partitions")
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await node.recovery.once()
    assert loop.time() - began_s < 5.0
    can = {user for user, id in ids.items() if not {keys.partition_of(user), keys.partition_of(id)} & dead}
    assert 0 < len(can) < len(PEOPLE)
    assert {user for user in PEOPLE if await node.wallet.coins(user)} == can
    ready = (await site.http.get("/readyz")).json()
    assert (ready["status"], ready["degraded"]["wallet"]) == (
        "ready",
        f"gifts are refused in {len(dead)} of 64 partitions: the wallet store does not answer",
    )
    assert f"liveroom_wallet_partitions_refusing {float(len(dead))}" in (await site.http.get("/metrics")).text
    victim.start()
    await eventually(lambda: not node.wallet.refusing, WAIT_S, "all partitions")
    await node.recovery.once()
    assert {user for user in PEOPLE if await node.wallet.coins(user)} == set(PEOPLE)
    await site.settled()
    victim.kill()


@pytest.mark.parametrize("victim", [1, 2], indirect=True)
async def test_the_audit_goes_on(
    cluster: Cluster, site: Site, victim: Primary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It compares what it can, names the rest and since when, and is not ok when that is too long ago."""
    for user in PEOPLE:
        await site.give_coins(user, 100)
    dead = partitions_of(cluster, victim)
    wallet = open_store("wallet", cluster.url, AUDIT_SCRIPTS)
    await wallet.start()
    await wallet.wait_up(WAIT_S)
    async with site.draining() as drain:
        while await drain.drain_once():
            pass
        memory = Memory(site.node.engine, wallet, site.node.clock, "k" * 32, tmp_path / "anchors.log")
        audit = Audit(site.node.engine, wallet, site.node.clock, memory)
        before = await audit.run()
        assert (before.ok, before.not_compared) == (True, {})
        victim.kill()
        report = await audit.run(everything=False)
        assert (set(report.not_compared), report.wrong) == (dead, [])
        assert all("does not answer" in why for why in report.not_compared.values())
        since = report.not_compared_since_ms
        assert set(since) == dead
        assert all(before.at_ms - 10_000 < ms <= before.finished_ms for ms in since.values())
        has_newest = cluster.owner(keys.slot_of(keys.AUDIT_NEWEST)) is victim
        assert has_newest is (victim is cluster.nodes[2])
        assert (report.ok, len(report.doubts)) == ((False, 1) if has_newest else (True, 0))
        with monkeypatch.context() as later:
            later.setattr(limits, "AUDIT_OLD_S", 0.0)
            assert not (await audit.run(everything=False)).ok
    await wallet.stop()


async def test_a_node_starts(cluster: Cluster, site: Site, victim: Primary, another_site: MakeSite) -> None:
    """Its gifts are paid where a primary answers."""
    dead = partitions_of(cluster, victim)
    user = next(user for user in PEOPLE if keys.partition_of(user) not in dead)
    await site.give_coins(user, 10)
    victim.kill()
    other = await another_site(LIVEROOM_WALLET_URL=cluster.url)
    assert (await (await other.join(user)).gift("rose"))["type"] == "ok"


async def test_a_journal_starts(cluster: Cluster, site: Site, victim: Primary, tmp_path: Path) -> None:
    """It journals the other partitions."""
    dead = partitions_of(cluster, victim)
    users = [user for user in PEOPLE if keys.partition_of(user) not in dead]
    for user in users:
        await site.give_coins(user, 10)
    victim.kill()
    of = site.settings
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LIVEROOM_")},
        "LIVEROOM_DATA": str(tmp_path),
        "LIVEROOM_WALLET_URL": cluster.url,
        "LIVEROOM_METRICS_PORT": "0",
        "LIVEROOM_ROOM_URL": of.room_address,
        "LIVEROOM_JOURNAL_URL": of.journal_address,
    }
    journal = subprocess.Popen([sys.executable, "-m", "server", "journal"], env=environment, cwd=ROOT)
    try:
        await eventually(lambda: posted(of.journal_address) == len(users), WAIT_S, "journaled top-ups")
    finally:
        journal.send_signal(signal.SIGTERM)
        await asyncio.to_thread(journal.wait, WAIT_S)


def posted(journal: str) -> int:
    """How many top-ups of these people are journaled."""
    engine: Any = database.connect(journal)
    with engine.connect() as connection:
        rows = connection.execute(select(topups.c.user_id, topups.c.state)).all()
    engine.dispose()
    return sum(state == "posted" and user in PEOPLE for user, state in rows)
