"""One person of the crowd: a client of the protocol on a socket, who comes back when told so and keeps an account."""

import asyncio
import random
import time
from collections.abc import Callable

from loadtest.wire import Address, NotAdmitted, Socket
from protocol.chat import ChatSent
from protocol.client import Answered, Frame, RoomClient, Told
from protocol.gifts import SendGift
from protocol.session import Notice, Welcome
from protocol.wire import Codec, Command, Delivery, Event

BACKOFF_S = 0.25
BACKOFF_S_MAX = 5.0
MARK = "@T"  # and 16 hex digits: when it was said, in nanoseconds


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def mark() -> str:
    return f"{MARK}{time.time_ns():016x}"


class Person:
    """Joins, stays, sends. `said_ns` gets the latency of each marked message, `answered` each reply with its own."""

    def __init__(
        self,
        number: int,
        address: Address,
        path: str,
        codec: Codec,
        *,
        said_ns: Callable[[int], None],
        answered: Callable[["Person", Answered, int], None],
    ) -> None:
        self.number = number
        self.client = RoomClient(now_ms, codec=codec)
        self.seen: list[tuple[str, int, str, bool]] = []  # events: epoch, seq, id, whether a newer one replaces it
        self.hidden = 0
        self.joins = 0
        self.closes: list[int] = []
        self.refused: list[NotAdmitted] = []
        self._address, self._path = address, path
        self._said_ns, self._answered = said_ns, answered
        self._socket: Socket | None = None
        self._sent_ns: dict[str, int] = {}
        self._welcomed = asyncio.Event()
        self._leaving = False

    # --- coming and going --------------------------------------------------------------------------------------
    async def stay(self) -> None:
        """In the room until `leave`, or until the server says not to come back."""
        pause_s = BACKOFF_S
        while not self._leaving:
            try:
                code = await self._visit()
            except OSError:
                pass
            except NotAdmitted as no:
                self.refused.append(no)
                if no.status not in (0, 429, 503):
                    return
            else:
                pause_s = BACKOFF_S
                if self._leaving:
                    return
                self.closes.append(code)
                if not self.client.lost(code).comes_back:
                    return
            await asyncio.sleep(random.uniform(0, pause_s))
            pause_s = min(pause_s * 2, BACKOFF_S_MAX)

    async def _visit(self) -> int:
        query = self.client.resume_query()
        path = f"{self._path}&{query}" if query else self._path
        subprotocol = f"liveroom.v1.{self.client.codec}"
        self._socket = await Socket.connect(self._address, path, self._receive, subprotocol)
        try:
            return await self._socket.closed
        finally:
            self._socket = None
            self._welcomed.clear()

    async def welcomed(self) -> None:
        await self._welcomed.wait()

    def leave(self) -> None:
        self._leaving = True
        if self._socket is not None:
            self._socket.close()

    # --- speaking ----------------------------------------------------------------------------------------------
    def say(self) -> None:
        """A chat message that says when it was said."""
        self._send(lambda: self.client.chat(f"hello {mark()}"))

    def give(self, gift: str, count: int) -> None:
        self._send(lambda: self.client.gift(gift, count))

    def again(self, command: Command) -> None:
        """The same command: a gift keeps its id."""
        self._send(lambda: self.client.send(command))

    def _send(self, make: Callable[[], Frame]) -> None:
        if self._socket is None or not self._welcomed.is_set():
            return
        frame = make()
        ref = self.client.unanswered[-1].ref
        assert ref is not None
        self._sent_ns[ref] = time.perf_counter_ns()
        self._socket.send(frame)

    # --- hearing -----------------------------------------------------------------------------------------------
    def _receive(self, frame: Frame) -> None:
        for told in self.client.receive(frame):
            self._hear(told)

    def _hear(self, told: Told) -> None:
        if isinstance(told, Event):
            self.seen.append((self.client.epoch, told.seq, told.id, told.delivery is Delivery.LATEST))
            if isinstance(told, ChatSent) and not told.replayed:
                at = told.text.rfind(MARK)
                if at >= 0:
                    self._said_ns(time.time_ns() - int(told.text[at + 2 : at + 18], 16))
        elif isinstance(told, Answered):
            sent_ns = self._sent_ns.pop(told.command.ref or "", 0)
            self._answered(self, told, time.perf_counter_ns() - sent_ns if sent_ns else 0)
        elif isinstance(told, Welcome):
            self.joins += 1
            self._welcomed.set()
            if self._socket is not None:
                for again in self.client.resend():
                    self._socket.send(again)
        elif isinstance(told, Notice) and told.kind == "hidden":
            self.hidden += told.count or 0

    @property
    def gifts_open(self) -> int:
        """Gifts that were sent and have no reply."""
        return sum(isinstance(command, SendGift) for command in self.client.unanswered)
