"""Silence is measured in seconds, however long a turn of the wheel takes."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.closes import Close
from server import limits
from server.clock import Clock
from server.edge.liveness import Wheel
from server.edge.socket import Connection
from tests.frames import CLOSE, PING, PONG, Heard, Wire, masked

PINGED = b"\x89\x00"


class Looked:
    """One connection and a wheel, at times that the test chooses."""

    def __init__(self) -> None:
        self.wire, self.heard = Wire(), Heard()
        self.connection = Connection(self.heard, self.wire, "json", set())
        self.connection.member = SimpleNamespace(expires_s=float("inf"))
        self.wheel = Wheel([self.connection], Clock(lambda: 0.0), lambda: None)
        self.began = asyncio.get_running_loop().time()

    def look(self, after_s: float) -> None:
        self.wheel.look_at(self.connection, 0.0, self.began + after_s)

    @property
    def pings(self) -> int:
        return self.wire.written.count(PINGED)


async def test_a_wheel_that_is_stopped_turns_no_more() -> None:
    """Its task has ended."""
    wheel = Looked().wheel
    wheel.start()
    task = wheel._task
    await wheel.stop()
    assert task is not None
    assert task.done()


@pytest.mark.parametrize("turn_s", [0.5, 5, 7, 20, 34])
async def test_a_silent_peer(turn_s: float) -> None:
    """It is pinged in time, and closed at the first look after the time that was promised."""
    looked = Looked()
    at = 0.0
    while not looked.connection.closing:
        at += turn_s
        looked.look(at)
    assert limits.UNRESPONSIVE_S <= at < limits.UNRESPONSIVE_S + turn_s
    assert looked.wire.written.endswith(int(Close.UNRESPONSIVE).to_bytes(2) + b"unresponsive")
    assert looked.pings >= 1


@pytest.mark.parametrize("turn_s", [0.5, 5, 7, 20, 30])
async def test_a_peer_that_answers_pings_stays(turn_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a busy room, where frames go out all the time, it is asked often enough to answer in time."""
    looked = Looked()
    loop = asyncio.get_running_loop()
    pings = 0
    for turn in range(int(600 / turn_s)):
        at = looked.began + turn * turn_s
        monkeypatch.setattr(loop, "time", lambda at=at: at)
        looked.connection.sent = True
        looked.wheel.look_at(looked.connection, 0.0, at)
        if looked.pings > pings:
            pings = looked.pings
            looked.connection.data_received(masked(PONG))
    assert not looked.connection.closing
    assert pings >= 600 / (limits.HEARTBEAT_S + turn_s) - 2


@pytest.mark.parametrize("turn_s", [0.5, 5, 7, 12])
async def test_a_quiet_room_beats_in_time(turn_s: float) -> None:
    """With turns of the wheel up to half the time, there is never more than that time without a frame."""
    looked = Looked()
    sent, at = 0.0, 0.0
    for _ in range(int(60 / turn_s)):
        before = len(looked.wire.written)
        at += turn_s
        looked.look(at)
        if len(looked.wire.written) > before:
            assert at - sent <= max(limits.HEARTBEAT_S, 2 * turn_s)
            sent = at
    assert sent > 0


async def test_what_waits_in_the_kernel_counts() -> None:
    """After a halt of the whole process everybody's bytes are read before anybody is judged."""
    looked = Looked()
    seen: list[Any] = []

    class Later(Wheel):
        def look_at(self, connection: Any, now_s: float, now: float) -> None:
            seen.append(connection.heard_at)

    loop = asyncio.get_running_loop()
    wheel = Later([looked.connection], Clock(lambda: 0.0), lambda: None)
    before = looked.connection.heard_at
    # A timer is due and bytes wait: asyncio runs what was ready first, and reads sockets only then.
    task = asyncio.ensure_future(wheel.turn(0.0))
    loop.call_soon(loop.call_soon, looked.connection.data_received, masked(PING, b""))
    async with asyncio.timeout(5):
        while not seen:
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert seen[0] > before
    assert CLOSE not in [frame[0] for frame in looked.heard.messages]
