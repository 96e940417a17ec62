"""A primary of a cluster dies and its replica takes over: its rooms and wallets, and those of the other primaries."""

import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from server import limits
from server.app import Node
from server.store import keys
from tests.cluster import Cluster, Primary
from tests.hall import Hall
from tests.pair import in_step
from tests.program import eventually
from tests.site import WAIT_S, Site, new_gift_id

MakeSite = Callable[..., Awaitable[Site]]
ROOMS = [f"room-{n}" for n in range(9)]
PEOPLE = [f"viewer-{n}" for n in range(20)]


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old primary is dead or has lost the slot: tests/wallet/test_fence.py has the wait."""
    monkeypatch.setattr(limits, "FENCE_WAIT_S", 0.0)
    monkeypatch.setattr(Node, "_room_run_ids", lambda _: [])  # one cluster is both stores here, which a site refuses


@pytest.fixture(scope="module")
def replicated() -> Iterator[Cluster]:
    """A cluster whose first primary has a replica."""
    with tempfile.TemporaryDirectory(prefix="liveroom-cluster-") as folder:
        made = Cluster(Path(folder), replicated=True)
        try:
            made.start()
            for node in made.nodes:
                node.client.config_set("cluster-require-full-coverage", "no")
            yield made
        finally:
            made.stop()


@pytest.fixture
async def two(replicated: Cluster) -> tuple[Primary, Primary]:
    """The primary that has a replica, and that replica: in step, and all nodes empty."""
    one, other = replicated.nodes[0], replicated.nodes[3]
    primary, replica = (one, other) if other.client.info("replication")["role"] == "slave" else (other, one)
    for node in (primary, *replicated.nodes[1:3]):
        node.client.flushall()
    await eventually(lambda: in_step(primary.client, replica.client), WAIT_S, "a replica in step")
    return primary, replica


def room_at(cluster: Cluster, primary: Primary, *, there: bool = True) -> str:
    """A room that this primary has, or (`there=False`) one that it does not have."""
    return next(room for room in ROOMS if (cluster.owner(keys.slot_of(keys.room(room, keys.META))) is primary) is there)


def user_at(cluster: Cluster, primary: Primary, *, there: bool = True) -> str:
    """A user whose partition this primary has, or (`there=False`) does not have."""
    slots = {user: keys.slot(keys.PARTITION_TAGS[keys.partition_of(user)]) for user in PEOPLE}
    return next(user for user, slot in slots.items() if (cluster.owner(slot) is primary) is there)


async def test_a_replica_takes_over(replicated: Cluster, two: tuple[Primary, Primary], another_site: MakeSite) -> None:
    """Its rooms and partitions wait, then go on in a new epoch; those of other primaries never stop."""
    victim, replica = two
    urls = {"LIVEROOM_ROOM_URL": replicated.url, "LIVEROOM_WALLET_URL": replicated.url}
    sites = [await another_site(**urls), await another_site(**urls)]
    room, elsewhere = room_at(replicated, victim), room_at(replicated, victim, there=False)
    far = replicated.owner(keys.slot_of(keys.room(elsewhere, keys.META)))
    halls = []
    for each in (room, elsewhere):
        await sites[0].put_room(each)
        halls.append(await Hall.opened(sites, each))
    hers, others = halls
    chats, gifts = await hers.says("before"), await hers.gives()
    await hers.is_shown(gifts)
    user, lucky = user_at(replicated, victim), user_at(replicated, victim, there=False)
    log, meta = keys.log(keys.partition_of(user)), keys.wallet_meta(keys.partition_of(user))
    for each in (user, lucky):
        await sites[0].give_coins(each, 100)
    giver, in_hers = await sites[0].join(user, room=elsewhere), await sites[1].join(lucky, room=room)
    acked = [(await giver.gift("rose"))["id"] for _ in range(3)]
    epoch_before = int(victim.client.hget(meta, "epoch"))
    await eventually(lambda: in_step(victim.client, replica.client), WAIT_S, "a replica in step")

    victim.kill()
    await hers.is_refused()
    during = await others.says("we go on")
    gifts.append((await in_hers.gift("heart"))["id"])  # this sender's wallet is on another primary: paid at once
    late = [new_gift_id() for _ in range(3)]
    for viewer, id in zip(hers.here, late, strict=False):  # this wallet is away, too: the answer comes late, or never
        await viewer.tell({"type": "gifts.send", "id": id, "gift": "heart", "count": 1})
    assert (await giver.insist("gifts.send", gift="rose", count=1, id=late[2]))["coins"] == 96  # after about 3 s
    await hers.comes_back()
    assert len(hers.epochs()) == 2
    for viewer, id in zip(hers.here, late, strict=False):
        await viewer.insist("gifts.send", gift="heart", count=1, id=id)
    gifts += late[:2]

    chats += await hers.says("after")
    await others.says("after")
    others.assert_history(far.client, during, [])
    for hall in halls:
        hall.assert_one_order()
    assert len(others.epochs()) == 1
    assert int(replica.client.hget(meta, "epoch")) > epoch_before
    async with sites[0].draining(ahead_s=10) as drain:
        await drain.drain_once()
        await drain.retell_once()
    await hers.is_shown(gifts[2:3])  # the others may have been shown before anybody was back
    hers.assert_history(replica.client, chats, gifts)
    booked = [list(fields.values()) for _, fields in replica.client.xrange(log)]
    assert all(sum(f'"id":"{id}"' in str(entry) for entry in booked) == 1 for id in (*acked, late[2]))
    await sites[0].settled()
    victim.start()  # in this thread: the process dies with the thread that started it
    await eventually(lambda: in_step(replica.client, victim.client), WAIT_S, "a replica in step")


async def test_a_lagging_replica_takes_over_at_a_known_address(
    replicated: Cluster, two: tuple[Primary, Primary], another_site: MakeSite
) -> None:
    """It was primary before: nodes open it again, its rooms get a new epoch, and its gifts are shown again."""
    primary, replica = two
    sites = [await another_site(LIVEROOM_ROOM_URL=replicated.url) for _ in range(2)]
    room = room_at(replicated, primary)
    await sites[0].put_room(room)
    hall = await Hall.opened(sites, room)
    await hall.says("kept")
    await eventually(lambda: in_step(primary.client, replica.client), WAIT_S, "a replica in step")
    for new, old in ((replica, primary), (primary, replica)):
        async with sites[0].draining(ahead_s=10) as drain:
            old.client.execute_command("ACL", "SETUSER", "default", "-psync", "-sync", "-replconf")
            old.client.execute_command("CLIENT", "KILL", "TYPE", "replica")
            await hall.says("lost", "lost too", "lost as well")
            gifts = await hall.gives()
            await hall.is_shown(gifts)
            await drain.drain_once()
            await drain.retell_once()
            new.client.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
            old.client.execute_command("ACL", "SETUSER", "default", "+psync", "+sync", "+replconf")
            for viewer in hall.here:  # a command notices at once; else the next viewer count does
                await viewer.tell({"type": "chat.send", "text": "anybody there?"})
            await hall.comes_back()
            await hall.says("after")
            hall.assert_seqs_again()
            await drain.drain_once()
            await drain.retell_once()
            await hall.is_shown(gifts)
