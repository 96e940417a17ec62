"""The last answer of an HTTP connection arrives, though the peer is still sending; and what it sends has a bound."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from server import limits
from server.edge.linger import Lingering
from tests.frames import Wire
from tests.journeys.raw import upgrade
from tests.site import WAIT_S, Site

MUCH = 4 * 1024 * 1024  # more than the system's buffers hold
PUT = b"PUT /v1/rooms/demo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n%b\r\n"


async def last_words(site: Site, request: bytes, more: bytes) -> bytes:
    """The answer to somebody who sends everything before reading anything."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(request)
    for at in range(0, len(more), 65_536):
        writer.write(more[at : at + 65_536])
        await writer.drain()
    try:
        async with asyncio.timeout(WAIT_S):
            return await reader.readuntil(b"\r\n")
    finally:
        writer.close()


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"], ids=["kept", "closed"])
async def test_a_body_that_is_too_large(site: Site, close: bytes) -> None:
    """Behind a proxy that closes after each request, too."""
    request = PUT % (site.settings.service_key.encode(), MUCH, close)
    assert b" 413 " in await last_words(site, request, b"x" * MUCH)


@pytest.mark.parametrize(
    ("second", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * limits.HEAD_BYTES_MAX + b"\r\n\r\n", b" 431 "),
        (b"no HTTP\r\n\r\n", b" 400 "),
    ],
    ids=["a long head", "no request"],
)
async def test_behind_a_request_under_way(
    site: Site, capfd: pytest.CaptureFixture[str], second: bytes, status: bytes
) -> None:
    """The last answer is the only one: nothing is written behind it, and nothing in our log looks like our fault."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n" + second)
    async with asyncio.timeout(WAIT_S):
        said = await reader.read()
    writer.close()
    assert (await site.http.get("/healthz")).status_code == 200  # whatever the first request did, it has ended
    assert said.count(b"HTTP/1.1") == 1
    assert status in said.partition(b"\r\n")[0]
    assert "write_eof" not in (out := capfd.readouterr().out), out


async def test_heads_that_are_too_large(site: Site) -> None:
    """Of plain requests, and of upgrades."""
    assert b" 431 " in await last_words(site, b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"x" * MUCH)
    head = upgrade("/v1/rooms/demo/ws").removesuffix(b"\r\n") + b"X: "
    assert b" 431 " in await last_words(site, head, b"x" * MUCH)


async def test_what_is_no_request(site: Site) -> None:
    """400, and not a reset."""
    assert b" 400 " in await last_words(site, b"\x16\x03\x01 what is this?\r\n\r\n", b"x" * MUCH)


class Before(asyncio.Protocol):
    """The protocol that has given its connection away."""

    def __init__(self) -> None:
        self.lost = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


@pytest.fixture
async def lingering() -> AsyncIterator[tuple[Lingering, Wire, Before]]:
    wire, before = Wire(), Before()
    made = Lingering(wire, before)
    yield made, wire, before
    made.connection_lost(None)
    assert before.lost


async def test_what_is_dropped_is_bounded(lingering: tuple[Lingering, Wire, Before]) -> None:
    """Above the bound nobody listens any longer."""
    made, wire, _ = lingering
    made.data_received(b"x" * limits.DISCARDED_BYTES_MAX)
    assert not wire.let_go
    made.data_received(b"x")
    assert wire.let_go


async def test_the_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that never closes is cut off."""
    monkeypatch.setattr(limits, "CLOSE_LINGER_S", 0.01)
    wire, gone = Wire(), asyncio.Event()
    monkeypatch.setattr(wire, "abort", gone.set)
    Lingering(wire, Before())
    async with asyncio.timeout(WAIT_S):
        await gone.wait()
