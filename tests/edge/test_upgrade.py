"""The upgrade request itself: bytes right behind it, a body in it, paths and versions that do not exist."""

import asyncio
import json
from typing import NamedTuple

import pytest

from protocol.closes import Close
from server import limits
from server.edge.door import Door
from server.edge.socket import Connection
from server.rooms.history import NoSuchRoom
from tests.frames import TEXT, masked
from tests.journeys.raw import Peers, upgrade
from tests.site import Site

PING = masked(TEXT, b'{"type":"ping","ref":"early"}')


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    reason: str


async def asked(port: int, *pieces: bytes) -> Answer:
    """Send a request as it is, maybe in pieces or with something after it, and read the answer until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            for _ in range(4 if len(pieces) > 1 else 0):
                await asyncio.sleep(0)
        async with asyncio.timeout(10):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert int(headers["content-length"]) == len(body)
    return Answer(int(first.split(" ")[1]), headers, json.loads(body)["error"]["reason"])


def head(path: str, *lines: str) -> bytes:
    """A request whose answer has no body."""
    return "\r\n".join((f"HEAD {path} HTTP/1.1", "Host: x", *lines, "", "")).encode()


def path_of(site: Site, user: str = "alice") -> str:
    return site.address(token=site.token(user)).partition(str(site.port))[2]


# --- bytes behind it -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("cut", [0, 1, 2, 5, 6, 20, len(PING) - 1, None])
async def test_frames_behind_the_request(site: Site, peers: Peers, cut: int | None) -> None:
    """A frame in the request's own segment, or a part of it, is read after the welcome."""
    peer = await peers.connect(site.port)
    await peer.send(upgrade(path_of(site)) + PING[:cut])
    assert await peer.status() == 101
    if cut is not None:
        await peer.send(PING[cut:])
    assert b'"type":"ok"' in await peer.read_until(b'"early"')


async def test_frames_behind_a_request_in_pieces(site: Site, peers: Peers) -> None:
    """The same when the request comes in two pieces, and the second one brings two frames."""
    request = upgrade(path_of(site))
    peer = await peers.connect(site.port)
    await peer.send(request[:50])
    await peer.send(request[50:] + masked(TEXT, b'{"type":"ping","ref":"first"}') + PING)
    assert await peer.status() == 101
    await peer.read_until(b'"early"')


async def test_too_much_behind_the_request(site: Site, peers: Peers) -> None:
    """What is held before the welcome is bounded: more is a flood."""
    peer = await peers.connect(site.port)
    await peer.send(upgrade(path_of(site)) + masked(TEXT, b"[]") * (limits.EARLY_BYTES_MAX // 8 + 1))
    assert await peer.status() == 101
    assert await peer.closed() == Close.PROTOCOL_ERROR


@pytest.mark.parametrize("open_", [True, False], ids=["short", "long"])
async def test_behind_requests_under_way(
    site: Site, peers: Peers, monkeypatch: pytest.MonkeyPatch, open_: bool
) -> None:
    """It waits for its turn: first come their answers, whole and in order, then its own, and its frames are read."""
    if not open_:
        monkeypatch.setattr(Door, "enter", lambda *_: False)
    peer = await peers.connect(site.port)
    await peer.send(head("/readyz") + head("/nowhere") + upgrade(path_of(site)) + PING)
    assert [await peer.status() for _ in range(3)] == [200, 404, 101]
    await peer.read_until(b'"early"')
    assert site.node.sessions.joining.joins == 1


async def test_behind_the_last_request(site: Site) -> None:
    """Who asks to close after a request gets its answer, and nothing more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(head("/readyz", "Connection: close") + upgrade(path_of(site)))
    async with asyncio.timeout(10):
        said = await reader.read()
    writer.close()
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.count(b"HTTP/1.1 ") == 1
    assert site.node.sessions.joining.joins == 0


async def test_too_much_behind_an_upgrade_that_waits(site: Site, peers: Peers) -> None:
    """The bound is the same as without a request before it."""
    peer = await peers.connect(site.port)
    early = masked(TEXT, b"[]") * (limits.EARLY_BYTES_MAX // 8 + 1)
    await peer.send(head("/readyz") + upgrade(path_of(site)) + early)
    assert [await peer.status() for _ in range(2)] == [200, 101]
    assert await peer.closed() == Close.PROTOCOL_ERROR


async def test_what_may_wait_for_a_slow_reader(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the welcome on, our own bounds hold for it, not asyncio's."""
    monkeypatch.setattr(limits, "WRITE_HIGH_BYTES", 50_000)
    await site.join("alice")
    [connection] = site.node.sessions.connections
    assert isinstance(connection, Connection)
    assert connection.transport.get_write_buffer_limits() == (limits.WRITE_LOW_BYTES, limits.WRITE_HIGH_BYTES)


@pytest.mark.parametrize("scheme", ["http", "ws", "HTTPS", "wss"])
@pytest.mark.parametrize("open_", [True, False], ids=["short", "long"])
async def test_an_absolute_address(
    site: Site, peers: Peers, monkeypatch: pytest.MonkeyPatch, scheme: str, open_: bool
) -> None:
    """Its path counts, as a server must take it (RFC 9112, section 3.2.2)."""
    if not open_:
        monkeypatch.setattr(Door, "enter", lambda *_: False)
    peer = await peers.connect(site.port)
    await peer.send(upgrade(f"{scheme}://example.org:81{path_of(site)}") + PING)
    assert await peer.status() == 101
    await peer.read_until(b'"early"')


# --- refused -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("*", (400, "bad_request")),
        ("ftp://x/v1/rooms/demo/ws", (400, "bad_request")),
        ("ws://x", (404, "not_found")),
        ("http://x/nowhere", (404, "not_found")),
    ],
)
async def test_an_address_without_a_socket(site: Site, target: str, expected: tuple[int, str]) -> None:
    """Each is refused in the one form."""
    answer = await asked(site.port, upgrade(target))
    assert (answer.status, answer.reason) == expected


async def test_http_1_0_cannot_upgrade(site: Site) -> None:
    """Its offer is ignored (RFC 9110, section 7.8), and what is left is a plain GET."""
    request = upgrade(path_of(site)).replace(b"HTTP/1.1", b"HTTP/1.0")
    answer = await asked(site.port, request)
    assert (answer.status, answer.reason) == (426, "upgrade_required")
    assert site.node.sessions.joining.joins == 0


@pytest.mark.parametrize(
    "body",
    [("Content-Length: 5", b"hello"), ("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n")],
    ids=["sized", "chunked"],
)
@pytest.mark.parametrize("split", [False, True])
async def test_a_request_with_a_body(site: Site, body: tuple[str, bytes], split: bool) -> None:
    """It is refused, whether the body has come or not: its end would be the beginning of the frames."""
    request = upgrade(path_of(site), headers=[body[0]])
    answer = await asked(site.port, request if split else request + body[1] + PING)
    assert (answer.status, answer.reason) == (400, "bad_request")
    assert site.node.sessions.joining.joins == 0


async def test_a_refusal_reaches_who_sent_frames(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came behind the request is read, or the system would send a reset instead of our answer."""
    opened, go_on = asyncio.Event(), asyncio.Event()

    async def open_late(_room: str) -> None:
        opened.set()
        await go_on.wait()
        raise NoSuchRoom

    monkeypatch.setattr(site.node.rooms, "open", open_late)
    asking = asyncio.create_task(asked(site.port, upgrade(path_of(site)), PING, PING * 20, PING * 20))
    await opened.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    go_on.set()
    assert (await asking)[::2] == (404, "no_such_room")


@pytest.mark.parametrize(
    ("query", "header", "status"), [("?x=" + "y" * 8_300, "X: y", 414), ("", "X: " + "y" * 8_300, 431)]
)
async def test_a_long_line(site: Site, peers: Peers, query: str, header: str, status: int) -> None:
    """A line above the bound of the handshake has an answer, too, though the whole head is within the other's."""
    peer = await peers.connect(site.port)
    await peer.send(upgrade(f"/v1/rooms/demo/ws{query}", headers=[header]))
    assert await peer.status() == status
    assert await peer.closed() is None


async def test_an_unknown_path(site: Site) -> None:
    """A websocket address that does not exist is 404, as over HTTP; so is a room that nobody could have made."""
    for path in ("/ws", "/v1/rooms/demo", "/v1/rooms/demo/ws/more", "/v1/rooms/demo/w%C3%A4/ws"):
        answer = await asked(site.port, upgrade(f"{path}?token={site.token('alice')}"))
        assert (answer.status, answer.reason) == (404, "not_found"), path
    for room in ("none", "r%20m", "r" * 65, "a%0Ab", "%00"):
        answer = await asked(site.port, upgrade(f"/v1/rooms/{room}/ws?token={site.token('alice')}"))
        assert (answer.status, answer.reason) == (404, "no_such_room"), room


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Sec-WebSocket-Key", "X-Key", (400, "bad_request")),
        ("Sec-WebSocket-Version", "X-Version", (400, "bad_request")),
        ("dGhlIHNhbXBsZSBub25jZQ==", "abc", (400, "bad_request")),
        ("Host: ", "X-Y: \x80\x01", (400, "bad_request")),
        ("GET ", "POST ", (405, "method_not_allowed")),
        ("/ws?", "/ws?x=" + "x" * 8_200 + "&", (414, "uri_too_long")),
        ("Host: ", "Cookie: " + "c" * 8_200, (431, "head_too_large")),
    ],
)
async def test_a_malformed_request(site: Site, old: str, new: str, expected: tuple[int, str]) -> None:
    """Whichever part of the server finds it, the error has the one form."""
    request = upgrade(path_of(site)).decode().replace(old, new, 1)
    answer = await asked(site.port, request.encode("latin-1"))
    assert (answer.status, answer.reason) == expected
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("version", ["12", "8", "14", "", "x", "13, 8"])
async def test_another_version(site: Site, version: str) -> None:
    """Another version of the websocket protocol gets 426 and the one that we speak (RFC 6455, section 4.4)."""
    lines = upgrade(path_of(site)).decode().replace("Sec-WebSocket-Version: 13", f"Sec-WebSocket-Version: {version}")
    answer = await asked(site.port, lines.encode())
    assert (answer.status, answer.reason) == (426, "bad_version")
    assert (answer.headers["sec-websocket-version"], answer.headers["upgrade"]) == ("13", "websocket")
