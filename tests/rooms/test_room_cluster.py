"""Rooms on a cluster of three primaries: spread, a slot that moves under load, a primary that dies."""

import asyncio
import contextlib
import functools
import signal
from collections.abc import Awaitable, Callable

import httpx
import pytest
import websockets

from server.store import keys
from server.store.client import StoreDown
from tests.cluster import Cluster, Primary
from tests.journal.ledger import broadcast_of, pay
from tests.program import eventually
from tests.site import WAIT_S, Site, Viewer

ROOMS = [f"room-{n}" for n in range(9)]
MakeSite = Callable[[], Awaitable[Site]]


@pytest.fixture
def on_cluster(cluster: Cluster, another_site: Callable[..., Awaitable[Site]]) -> MakeSite:
    """Make nodes whose rooms are on the cluster, empty at first."""
    for primary in cluster.nodes:
        primary.client.flushall()
        primary.client.config_set("cluster-require-full-coverage", "no")
    return functools.partial(another_site, LIVEROOM_ROOM_URL=cluster.url)


def owner(cluster: Cluster, room: str) -> Primary:
    return cluster.owner(keys.slot_of(keys.room(room, keys.META)))


async def put(site: Site, room: str) -> None:
    """Make a room, as soon as its primary is there (again)."""
    while (await site.http.get(f"/v1/rooms/{room}")).status_code != 200:
        with contextlib.suppress(httpx.HTTPStatusError):
            await site.put_room(room)


def chats(viewer: Viewer) -> list[tuple[int, str]]:
    return [(event["seq"], event["text"]) for event in viewer.events("chat.sent")]


async def test_rooms_are_spread_and_whole(cluster: Cluster, on_cluster: MakeSite) -> None:
    """Every primary has rooms; in each of them both nodes see one order, gifts, boards and counts."""
    site, other = await on_cluster(), await on_cluster()
    assert len({owner(cluster, room).port for room in ROOMS}) == 3
    for room in ROOMS:
        await site.put_room(room)
        here, there = await site.join("alice", room=room), await other.join("bob", room=room, codec="msgpack")
        for n in range(3):
            await here.insist("chat.send", text=f"here {n}")
            await there.insist("chat.send", text=f"there {n}")
        gift = await here.gift("rose")
        for viewer in (here, there):
            await viewer.happened("gifts.sent", id=gift["id"])
            await viewer.happened("board.changed")
        assert chats(here) == chats(there)
        assert len(chats(here)) == 6
    listed = (await site.http.get("/v1/rooms")).json()["rooms"]
    assert {room["room_id"] for room in listed} >= set(ROOMS)


async def test_a_rooms_slot_moves_while_it_is_used(cluster: Cluster, on_cluster: MakeSite) -> None:
    """To another primary and back: everybody on both nodes gets every event once, in one order."""
    site, other = await on_cluster(), await on_cluster()
    room = ROOMS[0]
    await site.put_room(room)
    viewers = [await site.join("alice", room=room), await other.join("bob", room=room)]
    home, moving = owner(cluster, room), asyncio.Event()
    said: list[int] = []

    async def talk() -> None:
        while not moving.is_set():
            said.append((await viewers[0].insist("chat.send", text=f"line {len(said)}"))["seq"])

    talking = asyncio.create_task(talk())
    away = next(primary for primary in cluster.nodes if primary is not home)
    for target in (away, home):
        await asyncio.to_thread(cluster.move, keys.slot_of(keys.room(room, keys.META)), target)
        before = len(said)
        await eventually(lambda before=before: len(said) > before + 3, WAIT_S, "chat after a move")
    moving.set()
    await talking
    for viewer in viewers:
        await viewer.until(lambda _, viewer=viewer: len(chats(viewer)) == len(said))
        assert chats(viewer) == [(seq, f"line {n}") for n, seq in enumerate(said)]


async def test_a_primary_dies_and_comes_back(cluster: Cluster, on_cluster: MakeSite) -> None:
    """Its rooms refuse chat and keep their sockets, others go on.

    When it is back everybody gets everything, or a gap.
    """
    site = await on_cluster()
    victim = owner(cluster, ROOMS[0])
    room, elsewhere = ROOMS[0], next(each for each in ROOMS if owner(cluster, each) is not victim)
    for each in (room, elsewhere):
        await site.put_room(each)
    alice, bob = await site.join("alice", room=room), await site.join("bob", room=elsewhere)
    await alice.insist("chat.send", text="before")
    victim.kill()
    refused = await alice.ask("chat.send", text="meanwhile")
    assert (refused["reason"], refused["retry_after_ms"] > 0) == ("unavailable", True)
    await bob.insist("chat.send", text="we go on")
    gift = await alice.gift("rose")
    assert gift["type"] == "ok"  # money is elsewhere: the gift is paid, and is shown when the room is back
    victim.start()  # from this thread: it would end with another
    carol = None
    while carol is None:
        with contextlib.suppress(websockets.InvalidStatus):  # 503 until the primary is back
            carol = await site.join("bob", room=room)
    await carol.insist("chat.send", text="after")
    await carol.happened("chat.sent", text="after")
    async with site.draining(ahead_s=10) as drain:  # the journal shows what the node could not
        await drain.drain_once()
        await drain.retell_once()
    await carol.happened("gifts.sent", id=gift["id"])


async def test_gifts_are_shown_later_while_another_primary_is_away(cluster: Cluster, on_cluster: MakeSite) -> None:
    """The journal shows the gifts of rooms whose primaries are up, again and again, and those of the others later."""
    site = await on_cluster()
    victim = owner(cluster, ROOMS[0])
    away, up = ROOMS[0], next(each for each in ROOMS if owner(cluster, each) is not victim)
    for each in (away, up):
        await site.put_room(each)
    here = await site.join("bob", room=up)
    await site.give_coins("alice", 100)
    broadcasts = {room: await broadcast_of(site, room) for room in (away, up)}
    async with site.draining(ahead_s=10) as drain:
        await drain.retell_once()
        victim.kill()
        await eventually(lambda: bool(site.node.history.store.up and _away(site)), WAIT_S, "a primary that is away")
        for round_ in (1, 2):
            ids = {room: await pay(site, "alice", 5, room=room, broadcast=on) for room, on in broadcasts.items()}
            await drain.drain_once()
            await drain.retell_once()
            await here.happened("gifts.sent", id=ids[up])
            assert drain.retold == round_
        victim.start()  # from this thread: it would end with another
        await eventually(lambda: not _away(site), WAIT_S, "a primary that is back")
        await drain.retell_once()
        assert drain.retold == 4
        await drain.retell_once()
        assert drain.retold == 4


def _away(site: Site) -> bool:
    """Whether the node knows of a primary that is away."""
    try:
        return not site.node.history.store.identity
    except StoreDown:
        return True


async def test_the_bus_finds_another_node(cluster: Cluster, on_cluster: MakeSite) -> None:
    """When any primary dies that a node listens to, events of the others' rooms still arrive, none missing."""
    site, other = await on_cluster(), await on_cluster()
    for victim in cluster.nodes:
        room = next(each for each in ROOMS if owner(cluster, each) is not victim)
        await put(site, room)
        here, there = await site.join("alice", room=room), await other.join("bob", room=room)
        victim.kill()
        seqs = [(await here.insist("chat.send", text=f"line {n}"))["seq"] for n in range(20)]
        for viewer in (here, there):
            await viewer.happened("chat.sent", WAIT_S, seq=seqs[-1])
            assert [seq for seq, _ in chats(viewer)][-20:] == seqs
        victim.start()  # from this thread: it would end with another
        victim.wait(lambda victim=victim: "cluster_state:ok" in str(victim.client.execute_command("CLUSTER", "INFO")))
        for viewer in (here, there):
            await viewer.leave()


async def test_the_bus_leaves_a_silent_node(cluster: Cluster, on_cluster: MakeSite) -> None:
    """When a primary goes silent without closing its connections, the bus moves to another one."""
    site, other = await on_cluster(), await on_cluster()
    fanout = site.node.fanout
    link = fanout._bus.link
    assert link is not None
    assert link._transport is not None
    victim = next(node for node in cluster.nodes if node.port == link._transport.get_extra_info("peername")[1])
    room = next(each for each in ROOMS if owner(cluster, each) is not victim)
    await put(site, room)
    here, there = await site.join("alice", room=room), await other.join("bob", room=room)
    assert victim.process is not None
    victim.process.send_signal(signal.SIGSTOP)
    try:
        await eventually(lambda: fanout.up and fanout._bus.link is not link, WAIT_S, "another link")
        said = await there.insist("chat.send", text="do you hear me?")
        await here.happened("chat.sent", id=said["id"])
    finally:
        victim.process.send_signal(signal.SIGCONT)
    victim.wait(lambda: "cluster_state:ok" in str(victim.client.execute_command("CLUSTER", "INFO")))
