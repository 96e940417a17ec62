"""A whole room is closed in steps, and its viewers come back one after the other."""

import asyncio
from typing import Any

import pytest

from protocol.closes import Close
from protocol.session import Notice
from server import limits
from server.rooms.farewell import close_members


class Socket:
    """A member and its socket at once."""

    codec: Any = "json"

    def __init__(self, *, paused: bool = False) -> None:
        self.sink = self
        self.paused = paused
        self.closing = False
        self.told: list[Any] = []
        self.turn = 0

    def say(self, message: Any) -> None:
        assert not self.closing
        self.told.append(message)

    def leave(self, code: Close) -> None:
        self.close(code)

    def close(self, code: Close) -> None:
        self.closing = True
        self.told.append(code)

    def send(self, prepared: Any) -> None:
        raise NotImplementedError

    def tell(self, message: bytes) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("code", [Close.INTERNAL, Close.ROOM_ENDED])
async def test_a_large_room_closes_in_steps(code: Close) -> None:
    """No turn of the loop closes more than a chunk; who may come back gets a time for it, one after the other."""
    members = [Socket(paused=n == 3) for n in range(1_000)]
    task = asyncio.create_task(close_members(members, code))
    left, steps = len(members), list[int]()
    while not task.done():
        await asyncio.sleep(0)
        now = sum(not member.closing for member in members)
        steps.append(left - now)
        left = now
    assert left == 0
    assert max(steps) == limits.FLUSH_CHUNK
    waits = [member.told[0].reconnect_in_ms for member in members if isinstance(member.told[0], Notice)]
    assert waits == ([n for n in range(1_000) if n != 3] if code.comes_back else [])
    assert {member.told[-1] for member in members} == {code}


async def test_a_small_room_closes_without_a_word() -> None:
    """The clients' own pauses are enough there."""
    members = [Socket() for _ in range(limits.FLUSH_CHUNK)]
    await close_members(members, Close.INTERNAL)
    assert [member.told for member in members] == [[Close.INTERNAL]] * limits.FLUSH_CHUNK
