"""The short way into a room: it lets in exactly those whom the long way lets in, and they see no difference."""

import asyncio
import json
import random
import zlib
from typing import Any, NamedTuple

import msgspec
import pytest

from server.edge import door
from server.edge.door import Door, read_head
from server.edge.session import Sessions
from tests.frames import CLOSE, TEXT, masked
from tests.journeys.raw import Peers, upgrade
from tests.program import eventually
from tests.site import Site
from tests.torture import rounds

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VOLATILE = {"date", "server"}  # of the heads; uvicorn's own
READ_S = 10.0


class Answer(NamedTuple):
    """The head of an answer, and what is the same each time in the welcome or in the body behind it."""

    status: str
    headers: dict[str, str]
    rest: Any


class Way:
    """Which way people go."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.taken = 0
        self.open = True
        enter = Door.enter

        def counted(here: Door, *args: Any) -> bool:
            entered = self.open and enter(here, *args)
            self.taken += entered
            return entered

        patch.setattr(Door, "enter", counted)


@pytest.fixture
async def way(site: Site, monkeypatch: pytest.MonkeyPatch) -> Way:
    await site.node.rooms.open("demo")  # the first one there would have to wait for that
    return Way(monkeypatch)


async def answer_to(site: Site, request: bytes) -> Answer:
    """Send a request as it is, and read the answer's head, and its body or the first message."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        writer.write(request)
        async with asyncio.timeout(READ_S):
            status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            if "101" not in status:
                rest: Any = await reader.readexactly(int(headers.get("content-length", 0)))
            else:
                first, second = await reader.readexactly(2)
                size = int.from_bytes(await reader.readexactly(2)) if second == 126 else second
                frame = await reader.readexactly(size)
                rest = first, _told(first, frame)
    finally:
        writer.transport.abort()
    return Answer(status, {name: value for name, value in headers.items() if name not in VOLATILE}, rest)


def _told(first: int, frame: bytes) -> Any:
    """What a frame says that is the same each time: a close frame, or a welcome as text or binary, maybe deflated."""
    if first & 0x40:  # RSV1
        frame = zlib.decompress(frame + b"\x00\x00\xff\xff", wbits=-zlib.MAX_WBITS)
    if first & 0x0F == CLOSE:
        return frame
    messages = json.loads(frame) if first & 0x0F == TEXT else msgspec.msgpack.decode(frame)
    return _lasting(messages[0])  # counts may follow the welcome


def _lasting(welcome: dict[str, Any]) -> dict[str, Any]:
    """A welcome without what differs each time: times, the socket's own id, and who is there."""
    you, room = {**welcome["you"], "member_id": ""}, {**welcome["room"], "viewers": {}}
    return {**welcome, "you": you, "room": room, "seq": 0, "server_time_ms": 0}


async def both(site: Site, way: Way, request: bytes) -> bool:
    """Send it the one way and the other; they must agree. Returns whether the short way was taken."""
    way.open, taken = True, way.taken
    short = await answer_to(site, request)
    way.open = False
    assert await answer_to(site, request) == short
    assert way.taken == taken or "101" in short.status
    return way.taken > taken


def request(path: str, *lines: str, key: str = KEY, first: str = "GET {} HTTP/1.1") -> bytes:
    fixed = ("Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade", key, "Sec-WebSocket-Version: 13")
    return "\r\n".join((first.format(path), *fixed, *lines)).encode() + b"\r\n\r\n"


ROOM = "/v1/rooms/demo/ws"
CHROME = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


@pytest.mark.parametrize(
    ("query", "lines", "short"),
    [
        ("?token={}", [], True),
        ("?token={}&since=x:1", [], True),
        ("?since=&token={}", [], True),
        ("?token={}&chats=5", [], True),
        ("?token={}&chats=x", [], False),
        ("?token={}", [CHROME], True),
        ("?token={}", ["Sec-WebSocket-Extensions: permessage-deflate"], True),
        ("?token={}", ["Sec-WebSocket-Protocol: liveroom.v1.msgpack, liveroom.v1.json"], True),
        ("", ["Authorization: Bearer {}"], True),
        ("", ["Sec-WebSocket-Protocol: liveroom.v1.json, liveroom.token.{}"], True),
        ("?token={}&refusals=close", [], True),
        ("?token={}", ["Origin: https://elsewhere.example", "Cookie: a=b", "User-Agent: x"], True),
        ("?token={}&page=1", [], False),
        ("?token={}&token={}", [], False),
        ("?token={}&since=%78:1", [], False),
        ("?token={}", ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10"], False),
        ("?token={}", ["Sec-WebSocket-Extensions: x-other"], False),
        ("?token={}", ["Connection: keep-alive"], False),
        ("?token={}", ["Cookie: " + "c" * 7_000], True),
        ("?token={}", ["Cookie: " + "c" * 9_000], False),
        ("?token={}", ["Sec-WebSocket-Version: 8"], False),
        ("?token=x{}", [], False),
        ("?token={}&since=1", [], False),
        ("?token={}", ["Sec-WebSocket-Protocol: somebody.else"], False),
        ("", [], False),
    ],
)
async def test_each_goes_its_way(site: Site, way: Way, query: str, lines: list[str], short: bool) -> None:
    """What browsers and libraries send is ordinary; the rest, and who is refused, is left to the long way."""
    token = site.token("alice")
    made = request(ROOM + query.replace("{}", token), *(line.replace("{}", token) for line in lines))
    assert await both(site, way, made) is short


@pytest.mark.parametrize("first", ["POST {} HTTP/1.1", "GET {} HTTP/1.0", "HEAD {} HTTP/1.1"])
async def test_only_a_get_is_let_in(site: Site, way: Way, first: str) -> None:
    """Other methods and versions get the long way's refusal."""
    made = request(f"{ROOM}?token={site.token('alice')}", first=first)
    assert await both(site, way, made) is False


@pytest.mark.parametrize("seed", range(rounds(1, 50)))
async def test_both_ways_agree(site: Site, way: Way, seed: int) -> None:
    """Requests of many shapes get the same answer on both."""
    some, taken = random.Random(seed), 0
    token, other = site.token("alice"), site.token("bob", "host", room="another")
    queries = [
        f"token={token}",
        f"token={other}",
        "token=",
        "since=e:1",
        "since=e",
        "refusals=close",
        "a=b",
        "a",
        "%41=1",
    ]
    keys = [KEY] * 6 + ["Sec-WebSocket-Key: short", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==", "X: y"]
    more = [
        CHROME,
        "sec-websocket-extensions: Permessage-Deflate",
        "Sec-WebSocket-Protocol: liveroom.v1.json",
        "Sec-WebSocket-Protocol: liveroom.v1.msgpack , x",
        f"Sec-WebSocket-Protocol: liveroom.v1.json,liveroom.token.{token}",
        f"Authorization: bearer {token}",
        f"AUTHORIZATION: Bearer {other}",
        "Upgrade: websocket",
        "Connection: keep-alive",
        "Sec-WebSocket-Version: 13",
        "Content-Length: 0",
        "X-Forwarded-For: 192.0.2.7, unknown",
        "Expect: 100-continue",
    ]
    for _ in range(60):
        path = some.choice([ROOM] * 5 + ["/v1/rooms/nowhere/ws", "/v1/rooms/d%65mo/ws", "/v1/rooms/demo/ws/"])
        asked = some.choice([queries[:1], some.sample(queries, some.choice([0, 1, 2, 3]))])
        lines = some.sample(more, some.choice([0, 0, 0, 1, 2, 3]))
        made = request(path + ("?" + "&".join(asked) if asked else ""), *lines, key=some.choice(keys))
        taken += await both(site, way, made)
    assert taken > 3


@pytest.mark.parametrize("open_", [True, False], ids=["short", "long"])
async def test_frames_right_behind(site: Site, way: Way, peers: Peers, open_: bool) -> None:
    """What comes before the answer is read after the welcome, on both ways."""
    way.open = open_
    peer = await peers.connect(site.port)
    path = site.address(token=site.token("alice")).partition(str(site.port))[2]
    await peer.send(upgrade(path) + masked(TEXT, b'{"type":"ping","ref":"early"}'))
    assert await peer.status() == 101
    await peer.read_until(b'"early"')
    assert way.taken == open_


async def test_who_is_lost_before_the_join_begins_leaves_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection may go in the very turn of the loop in which it was let in: nobody is kept as waiting for news."""
    await site.node.rooms.open("demo")
    sessions, lost = site.node.sessions, list[bool]()
    enter = Sessions.enter

    def enter_and_lose(here: Sessions, *args: Any) -> bool:
        entered = enter(here, *args)
        [connection] = here.connections
        connection.connection_lost(None)  # type: ignore[union-attr]
        lost.append(entered)
        return entered

    monkeypatch.setattr(Sessions, "enter", enter_and_lose)
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(request(f"{ROOM}?token={site.token('alice')}"))
    await eventually(lambda: lost and not sessions.joining.under_way, what="the end of the join")
    writer.transport.abort()
    assert lost == [True]
    assert not sessions.connections
    assert not site.node.balances._by_user
    assert not site.node.rooms.opened("demo").members  # type: ignore[union-attr]


def test_the_answer_goes_with_the_first_frame() -> None:
    """The head and the welcome are one write; later frames go straight to the transport."""

    class Wire:
        def __init__(self) -> None:
            self.written: list[bytes] = []

        def write(self, data: bytes) -> None:
            self.written.append(data)

        def is_closing(self) -> bool:
            return True

    class Owner:
        transport: Any

    wire, owner = Wire(), Owner()
    owner.transport = first = door._Unanswered(wire, b"head,")  # type: ignore[arg-type]
    first.connection = owner  # type: ignore[assignment]
    assert owner.transport.is_closing() is True
    owner.transport.write(b"welcome")
    owner.transport.write(b"more")
    assert wire.written == [b"head,welcome", b"more"]


def test_other_addresses_go_the_long_way() -> None:
    """Only plain names are read; the rest may be another route's."""
    for path in ("/v1/rooms//ws", "/v1/rooms/a b/ws", "/v1/rooms/demo/ws#x", f"/v1/rooms/{'a' * 65}/ws", "/ws"):
        assert read_head(path.encode(), [], None) is None
