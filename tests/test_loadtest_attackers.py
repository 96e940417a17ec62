"""`bench hostile`: each kind does what it says, the audience can be asked in between, and a row says what was bad."""

import asyncio
import json
import socket
import struct
from collections import Counter
from pathlib import Path

import pytest

from loadtest import attackers
from loadtest.again import attacking
from loadtest.attacked import HEADS, Window, row
from loadtest.audience import Audience, Heard
from loadtest.hearing import mark
from loadtest.wire import Address
from tests.site import WAIT_S, Site

ENDS = {
    "inflated bombs": "1009",
    "bad JSON": "4502",
    "lone surrogates": "4502",
    "a flooder that comes back at once": "4502",
    "heads without end": "HTTP 431",
    "pipelined requests": "HTTP 429",
    "h2c": "HTTP 400",
    "the list of 1,700 rooms": "20 times HTTP 200",
    "dead readers that sent CLOSE": "dropped",
}


@pytest.mark.parametrize("kind", ENDS)
async def test_a_hostile_kind_gets_what_is_right(kind: str, site: Site) -> None:
    """The server's own way to end each attack; a head that is refused may look like a reset to who still writes."""
    path = (
        "/" + site.address(token=site.token("eve", "bot" if kind in attackers.AS_BOTS else "viewer")).split("/", 3)[3]
    )
    async with asyncio.timeout(WAIT_S):
        ended = await attackers.KINDS[kind](Address.of(site.url), path)
    assert ended in (ENDS[kind], "a reset") if kind == "heads without end" else ended == ENDS[kind]


async def test_a_dead_reader_that_is_reset_was_dropped() -> None:
    """A socket that was reset does not know its peer any more, and that is no other end."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(reset, "127.0.0.1", 0) as server, asyncio.timeout(WAIT_S):
        port = server.sockets[0].getsockname()[1]
        address = Address(host="127.0.0.1", port=port, tls=False)
        assert await attackers.KINDS["dead readers"](address, "/v1/rooms/demo/ws") == "dropped"


async def test_an_audience_can_be_asked_in_between(site: Site, tmp_path: Path) -> None:
    """It says what it has heard so far, and begins to count again."""
    path = "/" + site.address(token=site.token("fan")).split("/", 3)[3]
    audience = Audience(site.url, path, 3, WAIT_S * 6, cpu=0, folder=tmp_path)
    try:
        await asyncio.to_thread(audience.wait_ready)
        bot = await site.join("bot", "bot")
        for number in (2, 1):
            for _ in range(number):
                await bot.ask("chat.send", text=mark())
            async with asyncio.timeout(WAIT_S):
                while (heard := await asyncio.to_thread(audience.so_far)).messages < 3 * number:
                    pass
            assert (heard.conns, heard.messages, heard.closed) == (3, 3 * number, 0)
            await asyncio.to_thread(audience.begin_again)
    finally:
        audience.end()


def test_attackers_that_fail_are_said() -> None:
    """Their process had no such file; that is never a measurement."""
    with (
        pytest.raises(RuntimeError, match="the attackers ended with status 1"),
        attacking("loadtest.attackers", "127.0.0.1", "1", "/nowhere", "pings", "1"),
    ):
        pass


def test_attackers_say_how_they_ended(tmp_path: Path) -> None:
    """As one piece of JSON, at the end of the block."""
    paths = tmp_path / "paths"
    paths.write_text("/a\n/b\n/c")
    with attacking("loadtest.attackers", "127.0.0.1", "1", str(paths), "pings", "2") as said:
        assert said == []
    assert json.loads(said[0]).keys() <= {"no close frame", "by us"}


def a_window(messages: int, closed: int = 0) -> Window:
    heard = Heard(conns=9, messages=messages, per_s=1.0, p50_ms=1.0, p99_ms=20.4, max_ms=30.0, closed=closed)
    return Window(heard=heard, expected=100, rss_kib=70 * 1024)


def test_a_row_says_what_viewers_noticed() -> None:
    """What did not arrive, and who was closed, is bold."""
    calm = row("pings", a_window(100), a_window(100), Counter({"4502": 7, "by us": 1}))
    assert calm == ["pings", "20, 20 ms", "70, 70 MiB", "4502: 7, by us: 1", "all", "none"]
    bad = row("pings", a_window(100), a_window(99, closed=2), Counter())
    assert bad[-3:] == ["nothing", "**99.0%**", "**2**"]
    assert len(bad) == len(HEADS)
