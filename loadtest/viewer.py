"""One viewer of a crowd: it joins, reconnects as the protocol says, sends commands, and records what it receives."""

import asyncio
import time
from collections.abc import Callable
from random import Random

import msgspec
from msgspec import Struct

from loadtest.hearing import PRIVATE, Hall, Heard, Item
from loadtest.wire import Address, NotAdmitted, Socket
from protocol.client import Frame
from protocol.closes import comes_back
from protocol.wire import Codec

BACKOFF_S, BACKOFF_S_MAX = 0.25, 5.0
RETRIED = frozenset(("wallet_unavailable", "unavailable", "rate_limited"))
RETRY_S = 0.1


class Sent(Struct):
    """A command that waits for its reply."""

    kind: str
    ref: str
    body: dict[str, object]
    due_ns: int  # when it was due, even if it was sent later
    gift_id: str = ""


class Counts(Struct):
    """Counters of all viewers of a process together."""

    received: int = 0  # messages
    frames: int = 0
    bytes: int = 0
    joins: int = 0
    resumed: int = 0
    gaps: int = 0
    chats: int = 0
    gifts: int = 0
    likes: int = 0
    acked_gifts: int = 0
    not_sent: int = 0  # its sender had lost the connection
    away: int = 0  # its sender had left for a while, as planned
    hidden: int = 0
    replies: dict[str, int] = msgspec.field(default_factory=dict)
    closes: dict[str, int] = msgspec.field(default_factory=dict)


def count(found: dict[str, int], name: str) -> None:
    found[name] = found.get(name, 0) + 1


class Stretch(Struct):
    """What one viewer received without an announced gap: the events after seq `start`, up to `seq`."""

    epoch: str
    start: int
    seq: int
    coins: int = 0
    gifts: int = 0
    hidden: int = 0
    missing: list[tuple[int, int]] = msgspec.field(default_factory=list)  # first and last seq of each hole


class Viewer:
    """Calls `answered` with each reply and its command, and `wrong` with each violation, as a sentence."""

    def __init__(
        self,
        number: int,
        hall: Hall,
        counts: Counts,
        address: Address,
        path: str,
        codec: Codec,
        *,
        chance: Random,
        answered: Callable[["Viewer", Sent, Item], None],
        wrong: Callable[[str], None],
        slow: bool = False,
    ) -> None:
        self.number, self.hall, self.codec = number, hall, codec
        self.stretches: list[Stretch] = []
        self.unanswered: dict[str, Sent] = {}
        self.open = False  # welcomed
        self._counts, self._address, self._path = counts, address, path
        self._chance, self._answered, self._wrong = chance, answered, wrong
        self.slow = slow  # reads nothing after its welcome
        self._socket: Socket | None = None
        self._now: Stretch | None = None
        self._epoch = ""
        self._refs = 0
        self._task: asyncio.Task[None] | None = None
        self._staying = False
        self._wait_s: float | None = None
        self._dropped = False  # the plan broke the connection

    # --- coming and going --------------------------------------------------------------------------------------
    def come(self) -> None:
        self._staying = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._stay())

    async def go(self) -> None:
        """Leave, for good or for a while. A viewer who joins again is a newcomer."""
        self._staying = False
        if self._socket is not None:
            self._socket.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._gone()
        self._now = None

    def drop(self) -> None:
        """The connection breaks; the viewer comes back at once."""
        if self._socket is not None:
            self._wait_s = 0.0
            self._dropped = True
            self._socket.abort()

    async def _stay(self) -> None:
        pause_s = BACKOFF_S
        while self._staying:
            try:
                code = await self._visit()
                pause_s = BACKOFF_S
                count(self._counts.closes, self._closed_by(code))
                if self._staying and not comes_back(code):
                    return
            except OSError:
                count(self._counts.closes, "no connection")
            except NotAdmitted as error:
                count(self._counts.closes, f"HTTP {error.status}")
                if error.status not in (0, 429, 503):
                    self._wrong(f"viewer {self.number} was not let in: {error}")
                    return
            wait_s, self._wait_s = self._wait_s, None
            await asyncio.sleep(self._chance.uniform(0, pause_s) if wait_s is None else wait_s)
            pause_s = min(pause_s * 2, BACKOFF_S_MAX)

    def _closed_by(self, code: int) -> str:
        dropped, self._dropped = self._dropped, False
        return "by us" if dropped else "slow reader" if self.slow else str(code)

    async def _visit(self) -> int:
        since = f"&since={self._now.epoch}:{self._now.seq}" if self._now is not None else ""
        subprotocol = f"liveroom.v1.{self.codec}"
        self._epoch = ""
        try:
            path = self._path + since
            socket = await Socket.connect(self._address, path, self._receive, subprotocol, self._made)
            return await socket.closed
        finally:
            if self._socket is not None:
                self._socket.abort()
            self._gone()

    def _made(self, socket: Socket) -> None:
        self._socket = socket

    def _gone(self) -> None:
        self._socket, self.open = None, False

    @property
    def seq(self) -> tuple[str, int]:
        """The epoch and seq that it has reached."""
        return (self._now.epoch, self._now.seq) if self._now is not None else ("", 0)

    # --- sending -----------------------------------------------------------------------------------------------
    def send(self, sent: Sent) -> bool:
        """Send now; a gift waits for the reconnect. Returns False if the command was given up: its sender is away."""
        if not self.open and not (self._staying and sent.gift_id):
            if self._staying:
                self._counts.not_sent += 1
            else:
                self._counts.away += 1
            return False
        if not sent.ref:
            self._refs += 1
            sent.ref = str(self._refs)
        self.unanswered[sent.ref] = sent
        if self.open:
            self._put(sent)
        return True

    def _put(self, sent: Sent) -> None:
        assert self._socket is not None
        message = {"type": sent.kind, "ref": sent.ref, **sent.body}
        text = msgspec.json.encode(message).decode() if self.codec == "json" else msgspec.msgpack.encode(message)
        self._socket.send(text)

    # --- receiving ---------------------------------------------------------------------------------------------
    def _receive(self, frame: Frame) -> None:
        counts = self._counts
        heard = self.hall.hear(frame, self._epoch, self.codec, time.time_ns())
        counts.received += heard.size
        counts.frames += 1
        counts.bytes += len(frame)
        now = self._now
        if heard.plain and now is not None and heard.first == now.seq + 1:
            now.seq = heard.last
            now.gifts += heard.gifts
            now.coins += heard.coins
            return
        self._one_by_one(heard)

    def _one_by_one(self, heard: Heard) -> None:
        for item in heard.items:
            if item.type not in PRIVATE:
                self._event(item)
            elif item.type == "welcome":
                self._welcome(item)
            elif item.ref is not None and item.type in ("ok", "refused"):
                self._reply(item)
            elif item.type == "notice" and item.kind == "hidden" and self._now is not None:
                self._now.hidden += item.count or 0
                self._counts.hidden += item.count or 0
            elif item.type == "notice" and item.kind == "draining":
                self._wait_s = (item.reconnect_in_ms or 0) / 1000

    def _event(self, item: Item) -> None:
        now = self._now
        if now is None:
            self._wrong(f"viewer {self.number} was told seq {item.seq} before its welcome")
            return
        if item.seq <= now.seq:
            self._wrong(f"viewer {self.number} was told seq {item.seq} after {now.seq}")
            return
        if item.seq > now.seq + 1:
            now.missing.append((now.seq + 1, item.seq - 1))
        now.seq = item.seq
        if item.type == "gifts.sent":
            now.gifts += 1
            now.coins += item.coins or 0

    def _welcome(self, item: Item) -> None:
        self._counts.joins += 1
        before = self._now
        if item.resumed and (before is None or before.epoch != item.epoch):
            self._wrong(f"viewer {self.number} was resumed in epoch {item.epoch}, which it never joined")
        if not item.resumed or before is None:
            self._now = Stretch(item.epoch, item.seq, item.seq)
            self.stretches.append(self._now)
            self._counts.gaps += before is not None
        else:
            self._counts.resumed += 1
        self._epoch = item.epoch
        self.open = True
        if self.slow and self._socket is not None:
            self._socket.stop_reading()
        for sent in list(self.unanswered.values()):
            if sent.kind == "gifts.send":
                self._put(sent)
            else:
                del self.unanswered[sent.ref]

    def _reply(self, item: Item) -> None:
        sent = self.unanswered.pop(item.ref or "", None)
        if sent is None:
            self._wrong(f"viewer {self.number} got a reply to {item.ref}, which waits for none")
            return
        count(self._counts.replies, item.reason or "ok")
        self._answered(self, sent, item)
