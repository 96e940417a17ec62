"""The servers that ours is compared with: each sends everybody everything, and leaves nothing behind."""

import asyncio
import importlib.util
import re
import shutil
from itertools import chain
from pathlib import Path

import pytest

from loadtest.audience import MARKED, Heard
from loadtest.peers import measure
from loadtest.peers.__main__ import PEERS
from loadtest.peers.audience import PeerAudience, compiled
from loadtest.peers.found import Found
from loadtest.peers.measure import Delivered
from loadtest.peers.peer import Peer
from loadtest.peers.plain import WebsocketsBroadcast
from tests.site import WAIT_S

SAID = 30
WHY_NOT = re.compile(
    r"^there is no [\w-]+( and no [\w-]+)* on this machine \(Debian: [\w, -]+\)$|^nginx has no nchan module"
    r"|^its packages are not installed: run `npm ci`|^the Python package picows is not installed: `make check`"
)


async def heard_by_all(peer: Peer, viewers: int) -> list[list[list[bytes]]]:
    """What each viewer receives, a list of marks per frame, in order, while a bot sends SAID messages."""
    heard, news = [list[list[bytes]]() for _ in range(viewers)], asyncio.Event()

    def hear(into: list[list[bytes]], data: bytes) -> None:
        into.append(MARKED.findall(data))
        news.set()

    sockets = [
        await measure.enter(
            peer, peer.viewer_path, peer.viewer_hello, peer.greeting, lambda data, into=each: hear(into, data)
        )
        for each in heard
    ]
    bot = await measure.enter_bot(peer)
    for number in range(SAID):
        bot.send(peer.said(f"@T{number:016x}"))
    async with asyncio.timeout(WAIT_S):
        while any(sum(map(len, each)) < SAID for each in heard):
            news.clear()
            await news.wait()
    for socket in (*sockets, bot):
        socket.abort()
    return heard


@pytest.mark.parametrize("make", [each for name, each in PEERS.items() if name != "liveroom"], ids=lambda e: e.name)
async def test_a_peer_tells_everybody_in_order(make: type[Peer]) -> None:
    """Each peer that can be started sends five viewers every message once and cleans up; others say why not.

    Only those with a tick gather messages; the floor's share a write, not a frame."""
    peer = make()
    if why_not := peer.why_not():
        assert WHY_NOT.match(why_not)
        return
    with peer:
        pids, folder = [*peer.pids, *peer.store_pids], peer.folder
        told = await heard_by_all(peer, 5)
        assert re.search(r"\d+\.\d+", peer.version())
    assert [list(chain(*frames)) for frames in told] == [[b"%016x" % number for number in range(SAID)]] * 5
    gathers = peer.name in ("picows-tick", "ws-tick")
    assert all(len(frames) < SAID / 3 if gathers else len(frames) >= SAID for frames in told)
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert not folder.exists()


def test_a_peer_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer whose program is not on the path, or whose package is not installed, is left out, with a sentence."""
    monkeypatch.setattr(shutil, "which", lambda *_args, **_kwargs: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_args, **_kwargs: None)
    told = {name: make().why_not() for name, make in PEERS.items()}
    assert set(told) - {name for name, why_not in told.items() if why_not} == {"liveroom", "starlette", "websockets"}
    assert all(WHY_NOT.match(why_not) for why_not in told.values() if why_not)


# --- the audience in C ---------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled audience. Raises RuntimeError without a C compiler, which the power-cut tests need, too."""
    return compiled(tmp_path_factory.mktemp("audience"))


async def test_the_audience_counts_what_a_peer_tells(program: Path) -> None:
    """A whole measurement: every message arrives everywhere, in time, and costs the server some CPU."""
    found = await asyncio.to_thread(measure.deliver, WebsocketsBroadcast(), program, 20, 100, 0.5, 0.1)
    assert found.said >= 25
    assert found.heard.messages == found.expected == found.said * 20
    assert (found.share, found.heard.closed, found.sustained) == (1, 0, True)
    assert 0 < found.heard.p50_ms <= found.heard.p99_ms
    assert found.cpu_s > 0


async def test_the_audience_counts_a_mark_that_is_cut(program: Path, tmp_path: Path) -> None:
    """Marks are found wherever the bytes are split, after the hello and the greeting."""
    text = b"\x81\x40[@T0123456789abcdef,@T0123456789abcdef]@ and @T is none, @@T0123456789abcdef"
    hellos = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        hellos.append(await reader.readexactly(len(peer.hello)))
        writer.write(b"come in, @T0123456789abcdef")  # marks in the greeting do not count
        await asyncio.to_thread(audience.wait_ready)
        for byte in text * 3:
            writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        await reader.read()
        writer.close()

    peer = WebsocketsBroadcast()
    peer.viewer_hello, peer.greeting = ("hello",), b"abcdef"
    async with await asyncio.start_server(serve, "127.0.0.1", peer.port):
        audience = PeerAudience(program, peer, ["/"], 0.5, cpu=0, folder=tmp_path, at_a_time=1)
        try:
            heard = await asyncio.to_thread(audience.heard)
        finally:
            audience.end()
    assert hellos == [peer.hello]
    assert (heard.conns, heard.messages, heard.closed) == (1, 9, 0)


# --- the result ----------------------------------------------------------------------------------------------------
def rung(per_s: float, part: float, p99_ms: float) -> Delivered:
    heard = Heard(conns=10, messages=int(1000 * part), per_s=1, p50_ms=1, p99_ms=p99_ms, max_ms=p99_ms, closed=0)
    return Delivered(per_s=per_s, said=100, expected=1000, heard=heard, cpu_s=1, store_cpu_s=0, audience_cores=0)


@pytest.mark.parametrize(
    ("rungs", "sustained"),
    [
        ([rung(125, 1, 10), rung(250, 1, 900), rung(500, 1, 1100)], "250"),
        ([rung(125, 1, 10), rung(250, 0.999, 10), rung(250, 1, 10), rung(500, 0.5, 10)], "250"),
        ([rung(125, 0.9, 10), rung(125, 1, 2000)], "< 125"),
        ([], "-"),
    ],
)
def test_the_rate_that_is_sustained_is_the_highest_rung_that_held(rungs: list[Delivered], sustained: str) -> None:
    """A rung counts if everything arrives, and 99 of 100 messages within a second."""
    found = Found(name="x", title="X", version="1", why_not=None, rungs=rungs)
    assert found.sustained == sustained
