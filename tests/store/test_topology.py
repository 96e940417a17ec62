"""A cluster's map: whom to believe about it, and how its addresses are written."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.store import keys
from server.store.client import parse_address
from server.store.cluster import open_store
from server.store.topology import Claim, Topology, View, address_of, newest, seeds
from tests.cluster import Cluster
from tests.program import eventually

WAIT_S = 20.0
NOTHING = View([], [])
OLD = View([Claim(0, 9, "a", 1), Claim(10, 19, "b", 2)], [])
NEW = View([Claim(0, 4, "a", 1), Claim(5, 5, "b", 3), Claim(6, 9, "a", 1), Claim(10, 19, "b", 3)], [])
TIED = View([Claim(0, 19, "c", 3)], [])


@pytest.mark.parametrize(
    ("views", "before", "asked", "owners"),
    [
        ([OLD], NOTHING, 1, "aab"),  # the first map
        ([OLD, NEW], NOTHING, 2, "abb"),  # in any order
        ([NEW, OLD, OLD], NOTHING, 3, "abb"),  # one knows it, two are behind
        ([OLD], NEW, 3, "abb"),  # only a node that is cut off answers
        ([OLD, OLD], NEW, 3, "aab"),  # most agree: the cluster was set up again
        ([NEW], OLD, 3, "abb"),  # one is enough for news
        ([NEW, TIED, TIED], NOTHING, 3, "ccc"),  # epochs tie: the majority
        ([View(OLD.claims[:1], [])], OLD, 3, "aab"),  # slots that nobody claims stay where they were
        ([View(OLD.claims[:1], [])] * 2, OLD, 3, "aa-"),
    ],
)
def test_whom_to_believe(views: list[View], before: View, asked: int, owners: str) -> None:
    """The latest epoch holds, then the majority; nobody goes back to an older map on the word of a few."""
    found = View(newest(views, before, asked), [])
    assert "".join(claim.url if (claim := found.claim(slot)) else "-" for slot in (0, 5, 12)) == owners
    assert found.claim(20) is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:7000", "10.0.0.1:7000"),
        ("10.0.0.1:7000@17000,name", "10.0.0.1:7000"),
        ("::1:7000@17000", "[::1]:7000"),
        ("[::1]:7000", "[::1]:7000"),
        ("2001:db8::5:7000@17000,", "[2001:db8::5]:7000"),
        ("valkey-0.valkey:6379", "valkey-0.valkey:6379"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    """Clusters write IPv6 without brackets, addresses need them."""
    assert address_of(text) == address


def test_seeds_in_ipv6() -> None:
    """Addresses in IPv6 may stand in the settings, with a password."""
    first, second = map(parse_address, seeds("cluster://user:secret@[::1]:7000,::1:7001"))
    assert (first.host, first.port, second.host, second.port) == ("::1", 7000, "::1", 7001)
    assert (second.user, second.password) == ("user", "secret")


@contextlib.asynccontextmanager
async def read_from(url: str) -> AsyncIterator[Topology]:
    """A map that is read from these nodes."""
    topology = Topology(url, lambda: None)
    await topology.start()
    try:
        await topology.wait_ready(WAIT_S)
        yield topology
    finally:
        await topology.stop()


async def test_a_node_that_is_cut_off_is_not_believed(cluster: Cluster) -> None:
    """Its map is old, and it still answers: neither a new reader nor one that knows better believes it."""
    source, target, stale = cluster.nodes
    slot = 100
    stale.client.execute_command("DEBUG", "DROP-CLUSTER-PACKET-FILTER", -2)
    try:
        await asyncio.to_thread(cluster.move, slot, target)
        seen = [row[2][1] for row in stale.client.execute_command("CLUSTER", "SLOTS") if row[0] <= slot <= row[1]]
        assert seen == [source.port]
        async with read_from(f"cluster://127.0.0.1:{stale.port}") as topology:
            assert topology.url_of(slot) == f"redis://127.0.0.1:{target.port}"
            topology._known = [f"redis://127.0.0.1:{stale.port}", "redis://127.0.0.1:1", "redis://127.0.0.1:2"]
            topology._next = lambda asked, views: [] if views else [u for u in topology._known if u not in asked]  # type: ignore[method-assign]
            await topology._read()
            assert topology.url_of(slot) == f"redis://127.0.0.1:{target.port}"
    finally:
        stale.client.execute_command("DEBUG", "DROP-CLUSTER-PACKET-FILTER", -1)
        for node in cluster.nodes:
            await asyncio.to_thread(node.wait, lambda node=node: cluster.whole(node))
        await asyncio.to_thread(cluster.move, slot, source)


async def test_a_cluster_in_ipv6() -> None:
    """Its nodes are found by the addresses that it says, also after a slot has moved."""
    with tempfile.TemporaryDirectory(prefix="liveroom-six-") as folder:
        six = Cluster(Path(folder), host="::1")
        six.start()
        store = open_store("six", f"cluster://[::1]:{six.nodes[0].port}")
        try:
            await store.start()
            await store.wait_up(WAIT_S)
            key = keys.wallet_meta(0)
            await store.call("HSET", key, "f", "v")
            assert set(store.primaries()) == {f"redis://[::1]:{node.port}" for node in six.nodes}
            away = next(node for node in six.nodes if node is not six.owner(keys.slot_of(key)))
            await asyncio.to_thread(six.move, keys.slot_of(key), away)
            assert await store.call("HGET", key, "f") == b"v"
            await eventually(lambda: store._topology.url_of(keys.slot_of(key)) == f"redis://[::1]:{away.port}", WAIT_S)
        finally:
            await store.stop()
            six.stop()
