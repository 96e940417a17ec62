"""Closes the sockets of a whole room, some per turn of the loop, and spreads the return of those who may come back."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from protocol.closes import Close
from protocol.session import Notice
from server import limits
from server.rooms.outbox import Sink


class Leaver(Protocol):
    """A member of the room."""

    sink: Sink

    def say(self, message: Any) -> None: ...
    def leave(self, code: Close) -> None: ...


async def close_members(members: Sequence[Leaver], code: Close) -> None:
    """Close these members' sockets. In a large room each also gets a time to come back."""
    spread_ms = min(limits.RETURN_SPREAD_MS, len(members))
    spread = code.comes_back and len(members) > limits.FLUSH_CHUNK
    for start in range(0, len(members), limits.FLUSH_CHUNK):
        for number, member in enumerate(members[start : start + limits.FLUSH_CHUNK], start):
            if spread and not member.sink.paused:
                member.say(Notice(kind="draining", reconnect_in_ms=number * spread_ms // len(members)))
            member.leave(code)
        await asyncio.sleep(0)
