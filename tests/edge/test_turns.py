"""Reading takes a bounded part of each turn of the loop, however much anybody sends; nobody starves."""

import asyncio
import time
from collections import deque
from typing import Any

import pytest
from starlette.websockets import WebSocket

from protocol.closes import Close
from server import limits
from server.edge.plain import PlainConnection
from server.edge.socket import Connection
from server.edge.turns import Turns
from tests.frames import CLOSE, CONT, PING, PONG, TEXT, Heard, Wire, masked, written_frames

FRAMES = 1_000


class Flood:
    """A reader with this many frames, each of which takes some time."""

    def __init__(self, name: str, frames: int, told: list[str], frame_s: float = 0.0) -> None:
        self.name, self.left, self.told, self.frame_s = name, frames, told, frame_s
        self.through = False
        self.code: Close | None = None

    def read_on(self, until: float) -> bool:
        for _ in range(min(self.left, limits.READ_FRAMES_MAX)):
            self.left -= 1
            self.told.append(self.name)
            end = time.perf_counter() + self.frame_s
            while time.perf_counter() < end:
                pass
            if time.perf_counter() >= until:
                break
        return self.left > 0

    def read_out(self) -> None:
        self.through = True

    def close(self, code: Close) -> None:
        self.code = code


async def next_turn() -> None:
    """Wait until the loop has been round once."""
    await asyncio.sleep(0)


# --- the queue -----------------------------------------------------------------------------------------------------
async def test_a_few_frames_are_read_at_once() -> None:
    """A few frames are carried out as they arrive."""
    told: list[str] = []
    turns = Turns()
    assert all(turns.read(Flood(f"viewer {n}", 1, told)) for n in range(5))
    assert len(told) == 5
    assert turns.waits == 0


async def test_each_wait_counts_once() -> None:
    """So that an operator can see how often a turn was too short."""
    turns = Turns()
    for number in range(3):
        assert not turns.read(Flood(f"flood {number}", 40, [], frame_s=0.001))
    assert turns.waits == 3


async def test_many_floods_share_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many flood, a turn reads for its share of the time plus one frame, and each flood gets its slice."""
    monkeypatch.setattr(limits, "READ_TURN_S", 0.005)
    told: list[str] = []
    turns = Turns()
    floods = [Flood(f"{n}", 40, told, frame_s=0.001) for n in range(8)]
    assert not any([turns.read(flood) for flood in floods])
    assert len(told) <= 5
    while not all(flood.through for flood in floods):
        before = len(told)
        await next_turn()
        assert len(told) - before <= 5
    assert told.count("3") == 40
    assert {*told[:45]} == {flood.name for flood in floods}


async def test_a_late_turn_still_reads_one_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn that is late already reads one frame of one socket, so that everybody is read in the end."""
    monkeypatch.setattr(limits, "READ_TURN_S", 0.0)
    told: list[str] = []
    turns = Turns()
    floods = [Flood(name, 3, told) for name in "abc"]
    assert not any([turns.read(flood) for flood in floods])
    for count in range(1, 10):
        await next_turn()
        assert len(told) == count
    assert told == list("abc" * 3)
    assert all(flood.through for flood in floods)


async def test_one_that_fails_is_closed_alone(caplog: pytest.LogCaptureFixture) -> None:
    """An error in reading ends that socket; the others are read."""

    class Broken(Flood):
        def read_on(self, until: float) -> bool:
            if self.left < FRAMES:
                raise RuntimeError("no frame of ours")
            return super().read_on(until)

    told: list[str] = []
    turns = Turns()
    broken, sound = Broken("broken", FRAMES, told), Flood("sound", FRAMES, told)
    turns.read(broken)
    turns.read(sound)
    while not sound.through:
        await next_turn()
    assert broken.code is Close.INTERNAL
    assert told.count("sound") == FRAMES


# --- socket.py -----------------------------------------------------------------------------------------------------
FLOODS = {
    "pings": masked(PING, b"x"),
    "pongs": masked(PONG, b"x"),
    "empty arrays": masked(TEXT, b"[]"),
    "commands": masked(TEXT, b'{"type":"ping"}'),
}


class Counting(Heard):
    """Counts every frame."""

    frames = 0

    def received(self, connection: Connection, opcode: int, payload: bytes) -> None:
        super().received(connection, opcode, payload)
        self.frames += 1

    def charge(self, connection: Connection, cost: int) -> None:
        self.frames += 1


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_is_read_a_slice_a_turn(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a burst, each turn handles some and reads nothing more meanwhile; in the end all is handled."""
    monkeypatch.setattr(limits, "READ_TURN_S", 0.0)
    heard, wire = Counting(), Wire()
    connection = Connection(heard, wire, "json", set())
    connection.data_received(FLOODS[kind] * FRAMES)
    assert heard.frames <= limits.READ_FRAMES_MAX
    turns = 0
    while heard.frames < FRAMES:
        assert not wire.reading
        before = heard.frames
        await next_turn()
        assert heard.frames - before <= 1
        turns += 1
    assert turns > FRAMES / 2
    await next_turn()
    assert wire.reading
    if kind == "pings":
        assert wire.written.count(b"\x8a\x01x") == FRAMES


async def test_a_partial_frame_waits_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The part of a frame behind a flood is kept, and its rest is joined to it."""
    monkeypatch.setattr(limits, "READ_FRAMES_MAX", 10)
    heard, wire = Heard(), Wire()
    connection = Connection(heard, wire, "json", set())
    last = masked(TEXT, b'{"type":"ping"}')
    connection.data_received(masked(PONG) * 100 + last[:7])
    while not wire.reading:
        await next_turn()
    connection.data_received(last[7:])
    await next_turn()
    assert heard.messages == [(TEXT, b'{"type":"ping"}')]


async def test_nothing_is_handled_after_the_end() -> None:
    """When a connection is lost, none of its waiting frames is handled."""
    heard, wire = Heard(), Wire()
    connection = Connection(heard, wire, "json", set())
    connection.data_received(masked(TEXT, b"[]") * FRAMES)
    count = len(heard.messages)
    assert count < FRAMES
    connection.connection_lost(None)
    for _ in range(5):
        await next_turn()
    assert len(heard.messages) == count
    assert not wire.reading


@pytest.mark.parametrize("code", [Close.PROTOCOL_ERROR, Close.DRAINING])
async def test_nothing_is_parsed_after_a_close(code: Close) -> None:
    """What waits and what comes is not parsed, right or wrong; a flood of it is not even buffered."""
    heard, wire = Counting(), Wire()
    connection = Connection(heard, wire, "json", set())
    connection.inflates = True
    connection.data_received(masked(TEXT, b"[]") * FRAMES)
    count = heard.frames
    connection.close(code)
    late = masked(PING, b"late") + masked(TEXT, b"no deflate", rsv=4) + masked(TEXT, b"\xff") + masked(CONT, b"x")
    connection.data_received(late)
    for _ in range(50):
        await next_turn()
    assert heard.frames == count
    assert [frame[0] for frame in written_frames(wire.written)] == [CLOSE]
    assert wire.ended == (code is Close.PROTOCOL_ERROR)
    assert not wire.let_go
    connection.data_received(masked(PING, b"x") * (limits.CLOSING_BYTES_MAX // 7 + 1))
    assert connection._rest == b""
    for _ in range(50):
        await next_turn()
    assert heard.frames == count
    assert wire.reading


@pytest.mark.parametrize("late", [b"", masked(PING, b"late") * 500], ids=["at once", "behind a flood"])
async def test_the_answer_to_a_close_is_found(late: bytes) -> None:
    """It is found behind what was under way when we closed."""
    wire = Wire()
    connection = Connection(Heard(), wire, "json", set())
    connection.close(Close.DRAINING)
    connection.data_received(late + masked(CLOSE, (4001).to_bytes(2)))
    while not wire.let_go:
        await next_turn()
    assert [frame[0] for frame in written_frames(wire.written)] == [CLOSE]


async def test_a_close_within_a_frame_ends_its_commands() -> None:
    """A hub that closes in the middle of a read gets nothing that comes after it."""

    class Closing(Heard):
        def received(self, connection: Connection, opcode: int, payload: bytes) -> None:
            super().received(connection, opcode, payload)
            connection.close(Close.TOKEN_EXPIRED)

    heard, wire = Closing(), Wire()
    connection = Connection(heard, wire, "json", set())
    connection.data_received(masked(TEXT, b"[]") * 3 + masked(PING, b"late"))
    assert heard.messages == [(TEXT, b"[]")]
    assert [frame[0] for frame in written_frames(wire.written)] == [CLOSE]


# --- plain.py ------------------------------------------------------------------------------------------------------
class ReadAhead:
    """An ASGI server that has read ahead: it delivers without a turn of the loop."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self._messages = deque(messages)
        self.closed = False
        self.websocket = WebSocket({"type": "websocket"}, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        return self._messages.popleft() if self._messages else {"type": "websocket.disconnect", "code": 1000}

    async def _send(self, message: Any) -> None:
        self.closed = self.closed or message["type"] == "websocket.close"


class PlainHeard:
    """Counts what a plain connection receives, and closes it after this many."""

    def __init__(self, closes_after: int | None = None) -> None:
        self.turns = Turns()
        self.count = 0
        self._closes_after = closes_after

    def received(self, connection: PlainConnection, _opcode: int, _payload: bytes) -> None:
        self.count += 1
        if self.count == self._closes_after:
            connection.close(Close.PROTOCOL_ERROR)

    def charge(self, connection: PlainConnection, cost: int) -> None: ...
    def lost(self, connection: PlainConnection) -> None: ...
    def writable(self, connection: PlainConnection) -> None: ...
    def blamed(self, connection: PlainConnection) -> None: ...


async def run_plain(heard: PlainHeard) -> "asyncio.Task[None]":
    """A plain connection whose peer has sent many empty arrays."""
    server = ReadAhead([{"type": "websocket.connect"}, *[{"type": "websocket.receive", "text": "[]"}] * FRAMES])
    await server.websocket.accept()
    connection = PlainConnection(heard, server.websocket, "json")

    async def welcome() -> None: ...

    return asyncio.create_task(connection.run(welcome))


async def test_a_plain_flood_is_read_a_message_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a turn has no time left, each message waits for the next."""
    monkeypatch.setattr(limits, "READ_TURN_S", 0.0)
    heard = PlainHeard()
    running = await run_plain(heard)
    while not running.done():
        before = heard.count
        await next_turn()
        assert heard.count - before <= 1
    await running
    assert heard.count == FRAMES


async def test_nothing_plain_is_handled_after_a_close() -> None:
    """What a server has read ahead is dropped, with a turn of the loop between any two messages."""
    heard = PlainHeard(closes_after=10)
    running = await run_plain(heard)
    turns = 0
    while not running.done():
        await next_turn()
        turns += 1
    await running
    assert heard.count == 10
    assert turns > FRAMES / 2
