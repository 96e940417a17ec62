"""Group commit for a room: what comes during a call of the store, or soon after it began, shares the next."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeAlias

from server import limits
from server.rooms.history import NoSuchRoom
from server.store.client import Arg, StoreDown, StoreError, StoreUnknown

Args: TypeAlias = tuple[Arg, ...]
Outcome: TypeAlias = list[bytes]
Send: TypeAlias = Callable[[Sequence[Args]], Awaitable[list[Outcome]]]
Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]


class _Waiting:
    """Something that the store does not have yet, and the future that its sender awaits."""

    __slots__ = ("args", "outcome")

    def __init__(self, args: Args, outcome: "asyncio.Future[Outcome]") -> None:
        self.args = args
        self.outcome = outcome


class Together:
    """What people of one room send. `send` makes one call for many, and `spawn` starts a task of the room."""

    def __init__(self, send: Send, spawn: Spawn) -> None:
        self._send = send
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._busy = False
        self._next_at = 0.0  # loop time
        self.waiting: deque[_Waiting] = deque()

    async def outcome(self, args: Args) -> Outcome:
        """Send it, in order with the others. Raises NoSuchRoom, StoreError."""
        if not self._busy and self._loop.time() >= self._next_at:
            return await self._alone(args)
        if len(self.waiting) >= limits.CHAT_QUEUE_MAX:
            raise StoreDown("too many messages wait")
        outcome: asyncio.Future[Outcome] = self._loop.create_future()
        self.waiting.append(_Waiting(args, outcome))
        self._soon()
        return await outcome

    async def _alone(self, args: Args) -> Outcome:
        """Nobody else sends, as in most rooms most of the time: it takes no task and no future."""
        self._busy = True
        self._next_at = self._loop.time() + limits.CHAT_EVERY_S
        try:
            [outcome] = await self._send([args])
        finally:
            self._busy = False
            self._soon()
        return outcome

    def _soon(self) -> None:
        if self.waiting and not self._busy:
            self._busy = True
            self._spawn(self._work())

    async def _work(self) -> None:
        try:
            while self.waiting:
                if (rest_s := self._next_at - self._loop.time()) > 0:
                    await asyncio.sleep(rest_s)
                self._next_at = self._loop.time() + limits.CHAT_EVERY_S
                size = min(len(self.waiting), limits.CHAT_BATCH_MAX)
                await self._all([self.waiting.popleft() for _ in range(size)])
        finally:
            self._busy = False
            _fail(self.waiting, StoreDown("the room closes"))  # none are left, unless this was cancelled
            self.waiting.clear()

    async def _all(self, some: list[_Waiting]) -> None:
        """One call for all of them. Whatever it raises, each sender gets."""
        error: Exception = StoreUnknown("the call was given up")
        try:
            for each, outcome in zip(some, await self._send([each.args for each in some]), strict=True):
                if not each.outcome.done():  # else its sender was cancelled
                    each.outcome.set_result(outcome)
        except (StoreError, NoSuchRoom) as why:
            error = why
        finally:
            _fail(some, error)


def _fail(some: Iterable[_Waiting], error: Exception) -> None:
    for each in some:
        if not each.outcome.done():
            each.outcome.set_exception(error)
