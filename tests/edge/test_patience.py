"""Unfinished requests are closed after a while, without harm to other connections."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from server import limits
from server.edge.patience import PatientHttp, reap
from tests.edge.test_bounds import Http

LATE_S = limits.REQUEST_S_MAX + 1


class Wire(asyncio.Transport):
    """What was written, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


async def answer(_scope: object, _receive: object, send: object) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})  # type: ignore[operator]
    await send({"type": "http.response.body"})  # type: ignore[operator]


@pytest.fixture
async def made() -> AsyncIterator[SimpleNamespace]:
    """A connection, its wire, all connections, and the loop's time."""
    state, wire = ServerState(), Wire()
    config = uvicorn.Config(answer, http=PatientHttp, log_config=None, access_log=False)
    config.load()
    protocol = PatientHttp(config, state, {})
    protocol.connection_made(wire)
    loop = asyncio.get_running_loop()
    yield SimpleNamespace(protocol=protocol, wire=wire, connections=state.connections, now=loop.time)
    protocol.connection_lost(None)


@pytest.mark.parametrize(
    "half", [b"", b"GE", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab"]
)
async def test_half_a_request_is_closed(made: SimpleNamespace, half: bytes) -> None:
    """Whatever is missing, the connection is closed once the time for a request is over, and not before."""
    made.protocol.data_received(half)
    await asyncio.sleep(0)
    assert reap(made.connections, made.now()) == 0
    assert not made.wire.closed
    assert reap(made.connections, made.now() + LATE_S) == 1
    assert made.wire.closed
    assert made.wire.written.startswith(b"HTTP/1.1 408 ") or b"200 OK" in made.wire.written


async def test_a_whole_request_may_take_its_time(made: SimpleNamespace) -> None:
    """A complete request may take as long as the app needs; between two requests uvicorn's keep-alive applies."""
    made.protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert reap(made.connections, made.now() + LATE_S) == 0
    async with asyncio.timeout(10):
        while b"200 OK" not in made.wire.written:
            await asyncio.sleep(0)
    assert reap(made.connections, made.now() + LATE_S) == 0
    made.protocol.data_received(b"GET / HT")
    assert reap(made.connections, made.now() + LATE_S) == 1


@pytest.mark.parametrize("over", [0, 1])
async def test_a_whole_head_is_bounded_exactly(made: SimpleNamespace, over: int) -> None:
    """Its address, names and values count, with the four bytes of each line that are neither."""
    lines = len(b"/") + len(b"Host: x\r\n") + len(b"Cookie: \r\n")
    made.protocol.data_received(
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"x" * (limits.HEAD_BYTES_MAX - lines + over) + b"\r\n\r\n"
    )
    assert made.wire.written.startswith(b"HTTP/1.1 431 ") is bool(over)


async def test_close_beside_an_offer_of_another_protocol(made: SimpleNamespace) -> None:
    """The offer is ignored, and the rest of that line counts."""
    made.protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert not made.protocol.cycle.keep_alive


async def test_others_are_left_alone(made: SimpleNamespace) -> None:
    """Connections that are not our HTTP connections are left alone."""
    assert reap([object(), *made.connections], made.now()) == 0


def error_of(written: bytes) -> tuple[int, str]:
    """Status and reason of an error in the documented form."""
    head, _, body = written.partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: application/json\r\n" in head
    assert f"Content-Length: {len(body)}".encode() in head
    error = json.loads(body)["error"]
    assert error["message"]
    return int(head.split()[1]), error["reason"]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * limits.HEAD_BYTES_MAX, (431, "head_too_large")),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * (limits.PIPELINED_MAX + 2), (429, "too_many_requests")),
        (b"\x16\x03\x01\x02\r\n\r\n", (400, "bad_request")),
        (b"GE", (408, "timeout")),
    ],
)
async def test_errors_have_one_form(made: SimpleNamespace, sent: bytes, expected: tuple[int, str]) -> None:
    """JSON with a reason and a message, though the app never sees such a request."""
    made.protocol.data_received(sent)
    reap(made.connections, made.now() + LATE_S)
    assert error_of(made.wire.written) == expected


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("coding", ["length", "chunked"])
async def test_an_offer_of_another_protocol_loses_no_body(made: SimpleNamespace, size: int, coding: str) -> None:
    """The JDK's client offers h2c with its first request: the body is still read, in whatever pieces it comes."""
    plain = (
        b"Content-Length: 2\r\n\r\n{}"
        if coding == "length"
        else b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    )
    request = b"POST /x?y=1 HTTP/1.1\r\nHost: x\r\n" + OFFER + plain
    for at in range(0, len(request), size):
        made.protocol.data_received(request[at : at + size])
    cycle = made.protocol.cycle
    assert (bytes(cycle.body), cycle.more_body) == (b"{}", False)
    assert (cycle.scope["method"], cycle.scope["path"], cycle.scope["query_string"]) == ("POST", "/x", b"y=1")


@pytest.mark.parametrize(
    "head",
    [
        b"X: " + b"x" * limits.HEAD_BYTES_MAX,
        b"".join(b"X-%d: y\r\n" % n for n in range(limits.HEAD_LINES_MAX + 1)),
    ],
    ids=["a line without an end", "lines without an end"],
)
@pytest.mark.parametrize("size", [100, 100_000])
async def test_a_head_without_an_end_is_refused(made: SimpleNamespace, head: bytes, size: int) -> None:
    """The answer is 431, and the connection is closed before it has used more memory than the bound."""
    request = b"GET / HTTP/1.1\r\nHost: x\r\n" + head
    for at in range(0, len(request), size):
        if not made.wire.closed:
            made.protocol.data_received(request[at : at + size])
    assert made.wire.written.startswith(b"HTTP/1.1 431 ")
    assert made.wire.closed


@pytest.mark.parametrize(
    "rest",
    [b"0\r\nX: " + b"x" * 40_000, b"1;" + b"x" * 40_000],
    ids=["a trailer without an end", "an extension of a chunk without an end"],
)
async def test_trailers_and_extensions_are_bounded(made: SimpleNamespace, rest: bytes) -> None:
    """Trailers and chunk extensions are bounded as heads are."""
    request = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n" + rest
    for at in range(0, len(request), 1_000):
        if not made.wire.closed:
            made.protocol.data_received(request[at : at + 1_000])
    assert made.wire.closed


async def test_a_body_in_small_chunks_is_read(made: SimpleNamespace) -> None:
    """A body many times the bound of a head, a byte at a time."""
    made.protocol.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(limits.HEAD_BYTES_MAX):
        made.protocol.data_received(b"1\r\nx\r\n")
    made.protocol.data_received(b"0\r\n\r\n")
    assert len(made.protocol.cycle.body) == limits.HEAD_BYTES_MAX
    assert not made.wire.closed


async def test_a_long_head_within_the_bound_is_read(made: SimpleNamespace) -> None:
    """A token of 4 KiB with cookies beside it."""
    made.protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"x" * 8_000 + b"\r\n\r\n")
    assert made.protocol.cycle is not None
    assert made.wire.written == b""


@pytest.mark.parametrize("size", [limits.HEAD_BYTES_MAX - 200, limits.HEAD_BYTES_MAX + 200])
async def test_each_head_of_a_read_has_the_bound(size: int) -> None:
    """A long head is refused, also behind another request in the same bytes."""
    http = Http()
    made, wire = http.connect("10.0.0.1")
    lines = b"".join(b"X-%03d: %s\r\n" % (number, b"x" * 900) for number in range(size // 910))
    rest = size - len(lines) - len(b"GET / HTTP/1.1\r\nY: \r\n")
    made.data_received(b"GET / HTTP/1.1\r\n\r\n" + b"GET / HTTP/1.1\r\n" + lines + b"Y: " + b"y" * rest + b"\r\n\r\n")
    assert wire.written.startswith(b"HTTP/1.1 431 ") is (size > limits.HEAD_BYTES_MAX)
    await http.stop()
