"""Large writes: a reader gets everything, however slowly it reads; a peer that reads nothing is cut off."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from protocol.closes import Close
from server import limits
from server.edge.plain import PlainConnection
from server.edge.session import AnyConnection
from server.edge.socket import Connection
from server.store import keys
from tests.conftest import Stores
from tests.edge.test_plain import Hypercorn, Uvicorn
from tests.journeys.raw import Peers, RawSocket, upgrade
from tests.program import eventually
from tests.site import Site, Viewer
from tests.stores import settings

LONG = 500  # messages of 1.7 KB: more than a socket, its buffer and a frame hold
TEXT = "\N{PINE DECORATION}" * 400


@pytest.fixture(params=[Site, Uvicorn, Hypercorn])
async def site(request: pytest.FixtureRequest, stores: Stores, journal: str, tmp_path: Path) -> AsyncIterator[Site]:
    """A node as we run it, and behind servers that do not know our protocol class, with the node's kernel buffers."""
    made: Site = request.param(
        settings(
            tmp_path,
            LIVEROOM_WALLET_URL=f"unix://{stores.wallet.socket}",
            LIVEROOM_ROOM_URL=f"unix://{stores.room.socket}",
            LIVEROOM_JOURNAL_URL=journal,
            LIVEROOM_LOG="warning",
        )
    )
    made.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.KERNEL_SEND_BYTES)
    await made.start()
    yield made
    await made.stop()


def say(site: Site, stores: Stores, count: int = LONG) -> list[int]:
    """Post this many long messages, which the node gets all at once; return their seqs."""
    seqs = []
    with stores.room.client() as store, store.pipeline() as steps:
        first = int(store.hget(keys.room("demo", keys.META), "seq") or 0) + 1
        for seq in range(first, first + count):
            body = {"type": "chat.sent", "id": f"long-{seq}", "user": {"user_id": "bob", "name": "Bob"}, "text": TEXT}
            text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
            steps.xadd(keys.room("demo", keys.EVENTS), {"a": "1", "b": text}, id=f"{seq}-1")
            seqs.append(seq)
        steps.hset(keys.room("demo", keys.META), "seq", seqs[-1])
        steps.execute()
    site.node.fanout.check_position("demo")
    return seqs


async def raw(site: Site, peers: Peers, user: str, since: str | None = None) -> RawSocket:
    """An overlay with a small kernel buffer: what it has not read waits on the node."""
    peer = await peers.connect(site.port, receive_bytes=4_096)
    path = "/" + site.address(token=site.token(user, "overlay"), since=since).split("/", 3)[3]
    await peer.send(upgrade(path))
    assert await peer.status() == 101
    return peer


def connection_of(site: Site, user: str) -> AnyConnection | None:
    return next((each for each in site.node.sessions.connections if each.member and each.member.user_id == user), None)


def waiting_bytes(connection: AnyConnection) -> int:
    if isinstance(connection, PlainConnection):
        return connection._queued_bytes
    return connection.transport.get_write_buffer_size()


def assert_told(told: list[dict[str, Any]], seqs: list[int]) -> None:
    """All of these arrive once and in order, and nothing was hidden."""
    first, last = seqs[0], seqs[-1]
    assert [message["seq"] for message in told if first <= message.get("seq", 0) <= last] == seqs
    assert not [message for message in told if message["type"] == "notice"]


@pytest.mark.parametrize("snapshot", ["new", "old"])
async def test_a_slow_reader_resumes(
    site: Site, stores: Stores, peers: Peers, monkeypatch: pytest.MonkeyPatch, snapshot: str
) -> None:
    """All it missed comes, in pieces that wait for the reader; what happens meanwhile comes after it."""
    monkeypatch.setattr(limits, "SNAPSHOT_MS_MAX", 0 if snapshot == "new" else 60_000)
    alice = await site.join("alice", "bot")
    since = f"{alice.welcome['epoch']}:{alice.welcome['seq']}"
    seqs = say(site, stores)
    await alice.happened("chat.sent", seq=seqs[-1])
    peer = await raw(site, peers, "slow", since)
    await eventually(lambda: connection_of(site, "slow"), what="joining")
    live = (await alice.ask("chat.send", text="live again"))["seq"]
    told = await peer.told_until(live)
    (welcome,) = [message for message in told if message["type"] == "welcome"]
    told.remove(welcome)
    assert (welcome["resumed"], welcome["gap"]) == (True, None)
    assert_told(told, list(range(seqs[0], live + 1)))
    replayed = [message["seq"] for message in told if message.get("replayed")]
    assert replayed == list(range(alice.welcome["seq"] + 1, welcome["seq"] + 1))
    assert len(replayed) == (LONG if snapshot == "new" else 0)  # what is newer than the snapshot is live


async def test_a_large_flush_reaches_everybody_who_reads(site: Site, stores: Stores, peers: Peers) -> None:
    """In either codec, quick or slow, every reader gets all of it in order, and then the next event."""
    viewers = [await site.join("alice", "bot"), await site.join("bob", codec="msgpack"), await site.join("carol")]
    slow = await raw(site, peers, "slow")
    await eventually(lambda: connection_of(site, "slow"), what="joining")
    seqs = say(site, stores)
    reading = asyncio.create_task(slow.told_until(seqs[-1]))
    for viewer in viewers:
        await viewer.happened("chat.sent", seq=seqs[-1])
        assert_told(viewer.told, seqs)
    assert_told(await reading, seqs)
    live = (await viewers[0].ask("chat.send", text="live again"))["seq"]
    for viewer in viewers:
        await viewer.happened("chat.sent", seq=live)
    assert (await slow.told_until(live))[-1]["type"] != "notice"


@pytest.fixture
def closes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Close]]:
    """Records whom the node closes and why. The node checks often and loses patience soon."""
    seen: list[tuple[str, Close]] = []
    monkeypatch.setattr(limits, "WHEEL_S", 0.05)
    monkeypatch.setattr(limits, "STALLED_S_MAX", 1.0)
    for kind in (Connection, PlainConnection):
        close = kind.close

        def noted(self: Any, code: Close, reason: str | None = None, close: Any = close) -> None:
            seen.append((self.member.user_id, code))
            close(self, code, reason)

        monkeypatch.setattr(kind, "close", noted)
    return seen


@pytest.mark.parametrize("how", ["resumes", "listens"])
async def test_a_peer_that_reads_nothing(
    closes: list[tuple[str, Close]], site: Site, stores: Stores, peers: Peers, how: str
) -> None:
    """It is cut off as a slow reader within the bound, little waits for it until then, and nobody else notices.

    The kernel keeps nothing for it either: the connection is reset.
    """
    alice = await site.join("alice", "bot")
    since = f"{alice.welcome['epoch']}:{alice.welcome['seq']}"
    if how == "listens":
        slow = await raw(site, peers, "slow")
        await eventually(lambda: connection_of(site, "slow"), what="joining")
    seqs = say(site, stores)
    if how == "resumes":
        await alice.happened("chat.sent", seq=seqs[-1])
        slow = await raw(site, peers, "slow", since)
    connection: AnyConnection = await eventually(lambda: connection_of(site, "slow"), what="joining")
    await eventually(lambda: connection.paused, 5, "waiting for it")
    most = waiting_bytes(connection)
    while not closes:
        most = max(most, waiting_bytes(connection))
        await alice.ask("ping")
    assert most < limits.WRITE_HIGH_BYTES + 2 * limits.PIECE_BYTES
    assert closes == [("slow", Close.SLOW_READER)]
    await eventually(lambda: not connection_of(site, "slow"), 5, "letting go")
    await alice.happened("chat.sent", seq=seqs[-1])
    if type(site) is Site:
        with pytest.raises(ConnectionResetError):
            await slow.read_out()


async def test_a_peer_that_reads_now_and_then(
    closes: list[tuple[str, Close]], site: Site, stores: Stores, peers: Peers
) -> None:
    """A peer that takes some bytes within each bound gets everything, though it takes much longer."""
    viewer: Viewer = await site.join("alice", "bot")
    slow = await raw(site, peers, "slow")
    await eventually(lambda: connection_of(site, "slow"), what="joining")
    seqs = say(site, stores)
    told: list[dict[str, Any]] = []
    while not any(message.get("seq", 0) >= seqs[-1] for message in told):
        _, payload = await slow.read_frame()
        told += json.loads(payload)
        for _ in range(40):
            await viewer.ask("ping")
    assert_told(told, seqs)
    assert closes == []
