"""The same client without asyncio: each call waits. A thread of its own holds the connection.

with join("https://live.example", "demo", token=get_token) as room:
    for told in room:
        if isinstance(told, ChatSent) and told.text == "!rose":
            room.gift("rose")
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from protocol import aio
from protocol.chat import SendChatOk
from protocol.client import Lost, RoomClient, Told
from protocol.connecting import Refused, TokenSource
from protocol.gifts import SendGiftOk
from protocol.ping import PingOk
from protocol.wire import Command, Ok

T = TypeVar("T")

__all__ = ["Refused", "Room", "join"]


class Room:
    """One person in one room, over any number of connections. Threads may share it, but one of them iterates."""

    def __init__(self, base: str, room: str, *, token: TokenSource, **options: Any) -> None:
        self._inner = aio.Room(base, room, token=token, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"liveroom {room}", daemon=True)
        self._lock = threading.Lock()
        self._ended = False  # from then on the loop takes nothing more, and nobody may ask it

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait(self._inner.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave for good. Commands without a reply are refused with `closed`, and the events end."""
        if self._thread.is_alive():
            with contextlib.suppress(Refused):  # another thread leaves, too
                self._wait(self._inner.close())
            self._end()
            self._thread.join()
        if not self._loop.is_closed():
            self._loop.close()

    def _end(self) -> None:
        """Let those who wait get their answers, and stop the loop, once."""
        with self._lock:
            ended, self._ended = self._ended, True
        if not ended:
            asyncio.run_coroutine_threadsafe(_rest(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _wait(self, made: Coroutine[Any, Any, T]) -> T:
        """What it returns. Raises Refused with the reason `closed` when the loop has ended."""
        with self._lock:
            if not self._ended:
                future = asyncio.run_coroutine_threadsafe(made, self._loop)
            else:
                made.close()
                raise Refused("closed")
        return future.result()

    def ready(self) -> Self:
        """Wait until it is live. Raises Refused, whose reason says why it is out for good."""
        self._wait(self._inner.ready())
        return self

    @property
    def client(self) -> RoomClient:
        """The room as it is (`client.room`), and who you are (`client.you`): both are replaced, never changed."""
        return self._inner.client

    @property
    def live(self) -> bool:
        return self._inner.live

    @property
    def since(self) -> str | None:
        """Where to resume after a restart of yours: behind the last event that your loop is through with."""
        return self._inner.since

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Told | Lost:
        try:
            return self._wait(self._inner.__anext__())
        except (StopAsyncIteration, Refused):  # who is refused here comes after the end
            raise StopIteration from None

    def send(self, command: Command, *, timeout_s: float | None = None) -> Ok:
        """Send a command; while there is no connection it waits for one. Returns its ok. Raises Refused."""
        return self._wait(self._inner.send(command, timeout_s=timeout_s))

    def chat(self, text: str, **more: Any) -> SendChatOk:
        return self._wait(self._inner.chat(text, **more))

    def likes(self, count: int = 1) -> Ok:
        return self._wait(self._inner.likes(count))

    def ping(self) -> PingOk:
        """Ask for the server's clock, by which gifts get their ids."""
        return self._wait(self._inner.ping())

    def gift(self, gift: str, count: int = 1, *, id: str | None = None, **more: Any) -> SendGiftOk:
        """Send a gift exactly once. After `timeout` or `wallet_unavailable` call again with the `id` of the Refused."""
        return self._wait(self._inner.gift(gift, count, id=id, **more))


async def _rest() -> None:
    """Let those who were just refused hear of it before the loop ends."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


def join(base: str, room: str, *, token: TokenSource, **options: Any) -> Room:
    """A room to enter with `with`; the options are those of `aio.join`."""
    return Room(base, room, token=token, **options)
