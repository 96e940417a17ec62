"""Who floods learns it, and waits before coming back."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
import websockets

from protocol.closes import Close
from server import limits
from server.edge.flooders import Flooders
from server.edge.socket import Connection
from server.rooms.frames import Prepared
from tests.frames import BINARY, CLOSE, PING, TEXT, Heard, Wire, masked
from tests.journeys.raw import Peers, upgrade
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]
FLOOD = masked(PING, b"x" * 125) * 500


# --- the close arrives ---------------------------------------------------------------------------------------------
async def test_who_writes_before_reading_sees_the_close(site: Site, peers: Peers) -> None:
    """Megabytes that are written without a look at what came back end with 4502, not with a reset."""
    peer = await peers.join(site.port, site.address(token=site.token("eve")).partition(str(site.port))[2])
    for _ in range(12 * 1024 * 1024 // len(FLOOD)):
        await peer.write(FLOOD)
    assert await peer.closed() == Close.PROTOCOL_ERROR


class Full(Wire):
    """A transport whose peer takes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = asyncio.Event()

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def abort(self) -> None:
        self.aborted.set()


@pytest.mark.parametrize("code", [Close.PROTOCOL_ERROR, Close.BAD_FRAME, Close.BANNED, Close.TOKEN_REVOKED])
async def test_a_final_close_waits_behind_data(code: Close, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not come back learns it, even when it still has to read other things; but not for long."""
    monkeypatch.setattr(limits, "CLOSE_LINGER_S", 0.05)
    wire = Full()
    connection = Connection(Heard(), wire, "json", set())
    connection.send(Prepared("json", b"x" * 100_000))
    connection.pause_writing()
    connection.close(code)
    assert wire.written.endswith(bytes((0x80 | CLOSE, len(code.reason) + 2)) + code.to_bytes(2) + code.reason.encode())
    assert not wire.aborted.is_set()
    async with asyncio.timeout(5):
        await wire.aborted.wait()


@pytest.mark.parametrize("code", [Close.SLOW_READER, Close.UNRESPONSIVE, Close.DRAINING])
async def test_another_close_does_not_wait(code: Close) -> None:
    """Who should come back does so after a reset, too, and need not wait."""
    wire = Full()
    connection = Connection(Heard(), wire, "json", set())
    connection.send(Prepared("json", b"x" * 100_000))
    connection.pause_writing()
    connection.close(code)
    assert wire.aborted.is_set()


async def test_a_close_of_the_peer_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that fills its buffer, sends its close and reads nothing is dropped."""
    monkeypatch.setattr(limits, "CLOSE_LINGER_S", 0.05)
    wire = Full()
    connection = Connection(Heard(), wire, "json", set())
    connection.data_received(masked(CLOSE, b"\x03\xe8"))
    assert wire.let_go
    async with asyncio.timeout(5):
        await wire.aborted.wait()


async def test_what_is_dropped_has_a_bound() -> None:
    """After its close a peer's bytes are dropped unread, up to a bound; then nothing is taken from it."""
    heard, wire = Heard(), Wire()
    connection = Connection(heard, wire, "json", set())
    connection.close(Close.PROTOCOL_ERROR)
    chunk = masked(TEXT, b"[]") * 8_000
    for _ in range(limits.DISCARDED_BYTES_MAX // len(chunk)):
        connection.data_received(chunk)
        assert wire.reading
        assert connection._rest == b""
    connection.data_received(chunk)
    assert not wire.reading
    assert heard.messages == []


# --- who comes back waits ------------------------------------------------------------------------------------------
def test_each_flood_makes_the_wait_longer() -> None:
    """It doubles up to a bound, an address has some free, and after a while all is forgotten."""
    flooders = Flooders()
    waits = []
    for _ in range(10):
        flooders.flooded("user", "eve", 0.0)
        waits.append(flooders.wait_s("user", "eve", 0.0))
    assert waits[:3] == [limits.FLOOD_WAIT_S, 2 * limits.FLOOD_WAIT_S, 4 * limits.FLOOD_WAIT_S]
    assert waits[-1] == limits.FLOOD_WAIT_S_MAX
    assert flooders.wait_s("user", "eve", 100.0) == limits.FLOOD_WAIT_S_MAX - 100.0
    assert flooders.wait_s("user", "alice", 0.0) == 0.0
    for _ in range(limits.FLOODS_FREE_OF_ADDRESS):
        flooders.flooded("address", "10.0.0.1", 0.0)
    assert flooders.wait_s("address", "10.0.0.1", 0.0) == 0.0
    flooders.flooded("address", "10.0.0.1", 0.0)
    assert flooders.wait_s("address", "10.0.0.1", 0.0) == limits.FLOOD_WAIT_S
    assert flooders.wait_s("user", "eve", limits.FLOOD_REMEMBERED_S) == 0.0
    flooders.flooded("address", "10.0.0.1", limits.FLOOD_REMEMBERED_S)
    assert flooders.wait_s("address", "10.0.0.1", limits.FLOOD_REMEMBERED_S) == 0.0


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest flood is forgotten first; a thousandth flood of one person costs no more than the first."""
    monkeypatch.setattr(limits, "FLOODERS_MAX", 3)
    flooders = Flooders()
    for name in ("a", "b", "c", "a", "d"):
        flooders.flooded("user", name, 0.0)
    assert [name for name in "abcd" if flooders.wait_s("user", name, 0.0)] == ["a", "c", "d"]
    for _ in range(2_000):
        flooders.flooded("user", "d", 0.0)
    assert flooders.wait_s("user", "d", 0.0) == limits.FLOOD_WAIT_S_MAX


async def flood(site: Site, peers: Peers, user: str, address: str) -> None:
    await close_for(site, peers, user, address, FLOOD, Close.PROTOCOL_ERROR)


async def close_for(site: Site, peers: Peers, user: str, address: str, sent: bytes, code: Close) -> None:
    """Join, send this, and be closed with this code."""
    peer = await peers.connect(site.port)
    path = site.address(token=site.token(user)).partition(str(site.port))[2]
    await peer.send(upgrade(path, headers=[f"X-Forwarded-For: {address}"]))
    assert await peer.status() == 101
    await peer.send(sent)
    assert await peer.closed() == code


async def refused(site: Site, user: str, address: str) -> int:
    """Try to join; the Retry-After of the refusal."""
    headers = {"X-Forwarded-For": address}
    with pytest.raises(websockets.InvalidStatus) as error:
        await websockets.connect(site.address(token=site.token(user)), additional_headers=headers, proxy=None)
    response = error.value.response
    assert (response.status_code, json.loads(response.body)["error"]["reason"]) == (429, "flooded")
    return int(response.headers["Retry-After"])


async def test_a_flooder_waits(another_site: MakeSite, peers: Peers) -> None:
    """The person waits wherever they come from; others from that address come in until it has had too many."""
    site = await another_site(LIVEROOM_CONNECTIONS_PER_ADDRESS="100")
    await flood(site, peers, "eve", "10.0.0.1")
    assert 0 < await refused(site, "eve", "10.0.0.2") <= limits.FLOOD_WAIT_S
    for number in range(limits.FLOODS_FREE_OF_ADDRESS):
        await flood(site, peers, f"eve-{number}", "10.0.0.1")
    assert 0 < await refused(site, "alice", "10.0.0.1") <= limits.FLOOD_WAIT_S
    await (await site.join("alice")).ask("ping")  # from another address
    assert site.node.sessions.commands.floods == 1 + limits.FLOODS_FREE_OF_ADDRESS


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (masked(TEXT, b"{}", mask=None), Close.BAD_FRAME),
        (masked(BINARY, b"\x80"), Close.UNACCEPTABLE),
        (masked(TEXT, b"\xff"), Close.BAD_TEXT),
        (masked(TEXT, b"x" * (limits.FRAME_BYTES_MAX + 1)), Close.TOO_BIG),
        (masked(TEXT, b"{"), Close.PROTOCOL_ERROR),
        (masked(TEXT, b"[" + b"{}," * limits.COMMANDS_PER_FRAME_MAX + b"{}]"), Close.PROTOCOL_ERROR),
    ],
)
async def test_who_is_closed_for_bad_frames_waits(
    another_site: MakeSite, peers: Peers, sent: bytes, code: Close
) -> None:
    """The first are free: a client may have a fault. Then each counts like a flood, for the address as well."""
    site = await another_site(LIVEROOM_CONNECTIONS_PER_ADDRESS="100")
    for _ in range(limits.BAD_FRAMES_FREE + 1):
        await close_for(site, peers, "eve", "10.0.0.1", sent, code)
    assert 0 < await refused(site, "eve", "10.0.0.2") <= limits.FLOOD_WAIT_S
    for number in range(limits.FLOODS_FREE_OF_ADDRESS):
        await flood(site, peers, f"eve-{number}", "10.0.0.1")
    assert 0 < await refused(site, "alice", "10.0.0.1") <= limits.FLOOD_WAIT_S


async def test_a_flood_before_the_welcome_counts(site: Site, peers: Peers) -> None:
    """It is one, though nobody was there to be charged."""
    peer = await peers.connect(site.port)
    path = site.address(token=site.token("eve")).partition(str(site.port))[2]
    await peer.send(upgrade(path) + masked(TEXT, b"[]") * (limits.EARLY_BYTES_MAX // 8 + 1))
    assert await peer.status() == 101
    assert await peer.closed() == Close.PROTOCOL_ERROR
    assert 0 < await refused(site, "eve", "10.0.0.2") <= limits.FLOOD_WAIT_S


async def test_after_the_wait_a_flooder_is_let_in(site: Site, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    """And addresses are not counted where they have no bound, as in development."""
    monkeypatch.setattr(limits, "FLOOD_WAIT_S", 0.0)
    for _ in range(limits.FLOODS_FREE_OF_ADDRESS + 2):
        await flood(site, peers, "eve", "10.0.0.1")
    monkeypatch.setattr(limits, "FLOOD_WAIT_S", 100.0)
    await flood(site, peers, "eve", "10.0.0.1")
    assert await refused(site, "eve", "10.0.0.1") == limits.FLOOD_WAIT_S_MAX
    await site.join("alice")
