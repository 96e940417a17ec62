"""Peers that stop in the middle: readers that do not read, frames and requests that do not end."""

import asyncio
import contextlib
from typing import Any

import pytest

from server import limits
from tests.journeys.raw import Peers, RawSocket, frame, upgrade
from tests.journeys.talk import chat
from tests.program import Program, rss_bytes
from tests.site import new_gift_id

RSS_BYTES_MORE = 48 * 1024 * 1024
CHATS = 2 * limits.RING_EVENTS_MAX + 400  # and within a bot's burst


async def test_reader_that_does_not_read(program: Program, peers: Peers) -> None:
    """While somebody reads nothing everybody else gets all; a reader far behind hears how much is hidden."""
    await program.put_room("flow")
    bot, bob = await program.join("alice", "bot", room="flow"), await program.join("bob", codec="msgpack", room="flow")
    path = program.path(await program.token("slow"), room="flow")
    slow = [await peers.connect(program.port, receive_bytes=4_096) for _ in range(20)]
    for peer in slow:
        await peer.send(upgrade(path))
    node = program.children()["node"]
    await chat(bot, 64, size=500)
    held = rss_bytes(node)
    last = await chat(bot, CHATS, size=500)
    for viewer in (bot, bob):
        await viewer.until(lambda _, viewer=viewer: viewer.events()[-1]["seq"] >= last, 30)
        seqs = [event["seq"] for event in viewer.events()]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert rss_bytes(node) - held < RSS_BYTES_MORE  # the ring is 4 MB of text, and its events have two codecs
    assert program.children()["node"] == node
    gift = await bot.insist("gifts.send", id=new_gift_id(), gift="heart", count=1)
    end = (await bot.happened("gifts.sent", id=gift["id"]))["seq"]
    for told in await asyncio.gather(*(read_at_last(peer, end) for peer in slow[:3])):
        seqs = [event["seq"] for event in told if "seq" in event]
        assert seqs == sorted(set(seqs))
        assert any(event["type"] == "notice" and event["kind"] == "hidden" for event in told)


async def read_at_last(peer: RawSocket, end: int) -> list[dict[str, Any]]:
    """Read everything up to the event `end`."""
    assert await peer.status() == 101
    return await peer.told_until(end)


async def test_slow_reader_catches_up(program: Program, peers: Peers) -> None:
    """A reader within what the node still has catches up in order, with every gift and a count of hidden chats."""
    await program.put_room("catch")
    bot = await program.join("alice", "bot", room="catch")
    late = await peers.connect(program.port, receive_bytes=4_096)
    await late.send(upgrade(program.path(await program.token("late", "overlay"), room="catch")))
    assert await late.status() == 101
    gifts, chats, last = [], limits.RING_EVENTS_MAX // 8, 0
    for _ in range(6):
        last = await chat(bot, chats, size=500)
        gifts.append((await bot.gift("rose"))["id"])
        await bot.happened("gifts.sent", id=gifts[-1])
    gifts.append((await bot.gift("heart"))["id"])  # a chat at the end might be hidden
    last = (await bot.happened("gifts.sent", id=gifts[-1]))["seq"]

    told = await late.told_until(last)
    seqs = [event["seq"] for event in told if "seq" in event]
    assert seqs == sorted(set(seqs))
    assert [event["id"] for event in told if event["type"] == "gifts.sent"] == gifts
    hidden = sum(event["count"] for event in told if event["type"] == "notice" and event["kind"] == "hidden")
    assert [event["type"] for event in told].count("chat.sent") + hidden == 6 * chats
    if not hidden:
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


async def test_peer_that_asks_and_does_not_read(program: Program, peers: Peers) -> None:
    """A peer that sends commands but never reads is cut off, and the node keeps only a bounded amount for it."""
    path = program.path(await program.token("greedy", "bot"))
    peer = await peers.connect(program.port, receive_bytes=4_096)
    await peer.send(upgrade(path))
    node = program.children()["node"]
    held = rss_bytes(node)
    async with asyncio.timeout(50):
        await ask_until_cut_off(peer)
    assert rss_bytes(node) - held < RSS_BYTES_MORE
    assert (await program.get("/readyz"))["status"] == "ready"
    assert (await (await program.join("bob")).ask("ping"))["type"] == "ok"


async def ask_until_cut_off(peer: RawSocket) -> None:
    """Ping within a bot's budget, to stay below a flood, until the server has hung up."""
    some = frame(b'{"type":"ping","ref":"%b"}' % (b"r" * 60)) * 8
    with contextlib.suppress(ConnectionError):
        while True:
            await peer.write(some)
            await asyncio.sleep(0.005)


PING = frame(b'{"type":"ping","ref":"r"}')


@pytest.mark.parametrize(
    ("half", "rest"),
    [
        (PING[:1], PING[1:]),
        (PING[:4], PING[4:]),
        (PING[:-1], PING[-1:]),
        (frame(b'{"type":', final=False), frame(b'"ping","ref":"r"}', 0)),
    ],
    ids=["a byte", "a head", "all but a byte", "a fragment"],
)
async def test_half_a_frame(program: Program, peers: Peers, half: bytes, rest: bytes) -> None:
    """Half a frame waits without harm: the room's events still come, and the rest completes it."""
    await program.put_room("half")
    peer = await peers.join(program.port, program.path(await program.token("slow"), room="half"))
    await peer.send(half)
    alice = await program.join("alice", room="half")
    said = await alice.ask("chat.send", text="is all well?")
    await alice.happened("chat.sent", id=said["id"])
    await peer.read_until(said["id"].encode())
    await peer.send(rest)
    await peer.read_until(b"server_time_ms")


async def test_half_a_request(program: Program, peers: Peers) -> None:
    """Hundreds of half upgrade requests keep nobody from joining, and all of them can be completed."""
    whole = upgrade(program.path(await program.token("late")))
    waiting = [await peers.connect(program.port) for _ in range(200)]
    for number, peer in enumerate(waiting):
        await peer.send(whole[: 1 + number * (len(whole) - 2) // len(waiting)])
    alice = await program.join("alice")
    said = await alice.ask("chat.send", text="let me in")
    await alice.happened("chat.sent", id=said["id"])
    for number, peer in enumerate(waiting[:20]):
        await peer.send(whole[1 + number * (len(whole) - 2) // len(waiting) :])
        assert await peer.status() == 101
    connections = (await metrics(program))["liveroom_connections"]
    assert connections >= 20


async def test_vanished_peers_are_forgotten(program: Program, peers: Peers) -> None:
    """Sockets that disappear silently leave the node's count, and their people leave the room."""
    await program.put_room("gone")
    alice = await program.join("alice", room="gone")
    before = (await metrics(program))["liveroom_connections"]
    path = program.path(await program.token("ghost"), room="gone")
    ghosts = [await peers.join(program.port, path) for _ in range(50)]
    assert (await metrics(program))["liveroom_connections"] == before + 50
    two = await alice.until(lambda _: next((e for e in alice.events("viewers.counted") if e["now"] == 2), None))
    for ghost in ghosts:
        await ghost.close()
    async with asyncio.timeout(20):
        while (await metrics(program))["liveroom_connections"] != before:
            await asyncio.sleep(0.05)
    await alice.until(lambda _: [e for e in alice.events("viewers.counted") if e["seq"] > two["seq"] and e["now"] == 1])


async def metrics(program: Program) -> dict[str, float]:
    """The node's metrics without labels."""
    async with program.client() as client:
        lines = (await client.get("/metrics")).text.splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line and line[0] != "#" and "{" not in line}
