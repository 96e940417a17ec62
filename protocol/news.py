"""What happened and waits for its handler, and the position behind what was handled."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class News(Generic[T]):
    """A queue that one loop takes from. Who asks for the next one is through with the last."""

    def __init__(self, since: str | None) -> None:
        self._waiting: deque[tuple[T, str | None]] = deque()
        self._came = asyncio.Event()
        self._taken = asyncio.Event()
        self._over = False
        self._since = self._given = since
        self._busy = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def since(self) -> str | None:
        """The position behind the last that was handled."""
        return self._since if self._busy else self._given

    def tell(self, told: T, since: str | None) -> None:
        """Let it wait; `since` is the position behind it."""
        self._waiting.append((told, since))
        self._came.set()

    def passed_by(self, since: str | None) -> None:
        """There was nothing to tell: the position moves with what comes before."""
        if self._waiting:
            self._waiting[-1] = (self._waiting[-1][0], since)
        else:
            self._given = since

    async def next(self) -> T:
        """The next one. Raises StopAsyncIteration after the end."""
        self._busy = False
        while not self._waiting:
            if self._over:
                raise StopAsyncIteration
            self._came.clear()
            await self._came.wait()
        self._since, self._busy = self._given, True
        told, self._given = self._waiting.popleft()
        self.look_again()
        return told

    def end(self) -> None:
        """Nothing more will come."""
        self._over = True
        self._came.set()

    def look_again(self) -> None:
        """Wake who waits in `taken`."""
        self._taken.set()

    async def taken(self) -> None:
        """Wait until something was taken, or for `look_again`."""
        self._taken.clear()
        await self._taken.wait()
