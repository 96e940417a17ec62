"""Much to be said at once: who reads is told all of it however slowly, and who reads nothing is let go of."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from protocol.closes import Close
from server import limits
from server.plain import PlainConnection
from server.session import AnyConnection
from server.socket import Connection
from server.store import keys
from tests.conftest import Stores
from tests.journeys.raw import Peers, RawSocket, upgrade
from tests.program import eventually
from tests.site import Site, Viewer
from tests.stores import settings
from tests.test_plain_asgi import Hypercorn, Uvicorn

LONG = 500  # messages of 1.7 KB: more than a socket, its buffer and a frame hold
TEXT = "\N{PINE DECORATION}" * 400


@pytest.fixture(params=[Site, Uvicorn, Hypercorn])
async def site(request: pytest.FixtureRequest, stores: Stores, journal: str, tmp_path: Path) -> AsyncIterator[Site]:
    """A node as it is run, and behind servers that know nothing of it; the kernel's buffers are what the node's are."""
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
    """So many long messages, of which the node hears all at once; their seqs."""
    seqs = []
    with stores.room.client() as store, store.pipeline() as steps:
        first = int(store.hget(keys.room_meta("demo"), "seq") or 0) + 1
        for seq in range(first, first + count):
            body = {"type": "chat.sent", "id": f"long-{seq}", "user": {"user_id": "bob", "name": "Bob"}, "text": TEXT}
            text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
            steps.xadd(keys.room_events("demo"), {"a": "1", "b": text}, id=f"{seq}-1")
            seqs.append(seq)
        steps.hset(keys.room_meta("demo"), "seq", seqs[-1])
        steps.execute()
    site.node.fanout.check_position("demo")
    return seqs


async def raw(site: Site, peers: Peers, user: str, since: str | None = None) -> RawSocket:
    """An overlay whose kernel takes little: what it has not read waits on the node."""
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
    """All of these once and in order, and nothing was hidden."""
    first, last = seqs[0], seqs[-1]
    assert [message["seq"] for message in told if first <= message.get("seq", 0) <= last] == seqs
    assert not [message for message in told if message["type"] == "notice"]


@pytest.mark.parametrize("snapshot", ["new", "old"])
async def test_who_resumes_slowly(
    site: Site, stores: Stores, peers: Peers, monkeypatch: pytest.MonkeyPatch, snapshot: str
) -> None:
    """What was missed comes whole, in pieces that wait for the reader, and what happens meanwhile behind it."""
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
    """In either codec, quick or slow: all of it in order, and what comes next."""
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
    """Whom the node closes and why, as it happens; it looks often, and is soon out of patience."""
    seen: list[tuple[str, Close]] = []
    monkeypatch.setattr(limits, "WHEEL_S", 0.05)
    monkeypatch.setattr(limits, "STALLED_S_MAX", 0.5)
    for kind in (Connection, PlainConnection):
        close = kind.close

        def noted(self: Any, code: Close, reason: str | None = None, close: Any = close) -> None:
            seen.append((self.member.user_id, code))
            close(self, code, reason)

        monkeypatch.setattr(kind, "close", noted)
    return seen


@pytest.mark.parametrize("how", ["resumes", "listens"])
async def test_who_reads_nothing(
    closes: list[tuple[str, Close]], site: Site, stores: Stores, peers: Peers, how: str
) -> None:
    """It is cut as a slow reader within the bound, little waits for it until then, and nobody else notices."""
    alice = await site.join("alice", "bot")
    since = f"{alice.welcome['epoch']}:{alice.welcome['seq']}"
    if how == "listens":
        await raw(site, peers, "slow")
        await eventually(lambda: connection_of(site, "slow"), what="joining")
    seqs = say(site, stores)
    if how == "resumes":
        await alice.happened("chat.sent", seq=seqs[-1])
        await raw(site, peers, "slow", since)
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


async def test_who_reads_now_and_then(
    closes: list[tuple[str, Close]], site: Site, stores: Stores, peers: Peers
) -> None:
    """Whoever takes some bytes within the bound, again and again, is told all of it, though it takes much longer."""
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
