"""The frames that a crowd receives: each is decoded once for all sockets, and logged once for its room.

A room's frames are the same bytes for everybody. So a process with thousands of viewers decodes each frame once, and
then only compares bytes. Arrivals are counted in steps of 2**17 ns (0.13 ms), and become latencies once a second.
"""

import time
import zlib
from collections.abc import Callable, Iterable
from typing import ClassVar, cast

import msgspec
from msgspec import Struct

from loadtest.recorder import Recorder
from protocol import boards, chat, gifts, likes, rooms, viewers
from protocol.client import Frame
from protocol.wire import Codec, Delivery, Event

MARK = "@T"  # followed by 16 hex digits: the time of sending in nanoseconds
STEP_BITS = 17
MARKS_MAX = 20  # latencies taken from one frame: more would add nothing
EVENTS_MAX = 2_000_000  # that a process remembers of one room and epoch: some 200 MB
KEPT, DROPPABLE, LATEST = 0, 1, 2
PRIVATE = frozenset(("welcome", "ok", "refused", "notice", "wallet.changed", "heartbeat"))
_CLASSES = {Delivery.KEPT: KEPT, Delivery.DROPPABLE: DROPPABLE, Delivery.LATEST: LATEST}
EVENT_MODULES = (boards, chat, gifts, likes, rooms, viewers)  # importing them registers their events
CLASS_OF: dict[str, int] = {str(each.__struct_config__.tag): _CLASSES[each.delivery] for each in Event.__subclasses__()}


class Item(Struct, frozen=True):
    """The fields of a message, of any type, that a crowd reads."""

    type: str
    seq: int = 0
    id: str = ""
    replayed: bool = False
    text: str | None = None
    message: str | None = None
    coins: int | None = None
    count: int | None = None
    kind: str | None = None
    ref: str | None = None
    reason: str | None = None
    retry_after_ms: int | None = None
    reconnect_in_ms: int | None = None
    epoch: str = ""
    resumed: bool = False
    gap: dict[str, int] | None = None
    duplicate: bool = False
    server_time_ms: int = 0


_DECODE: dict[Codec, Callable[[Frame], list[Item]]] = {
    "json": msgspec.json.Decoder(list[Item]).decode,
    "msgpack": cast(Callable[[Frame], list[Item]], msgspec.msgpack.Decoder(list[Item]).decode),
}


class Heard:
    """One decoded frame: its items, and the sums over its events that a viewer needs."""

    __slots__ = (
        "arrivals",
        "coins",
        "epoch",
        "first",
        "gifts",
        "items",
        "last",
        "plain",
        "said",
        "shared",
        "shown",
        "size",
    )

    def __init__(self, items: list[Item]) -> None:
        self.items = items
        self.size = len(items)
        seqs = [item.seq for item in items if item.type not in PRIVATE]
        self.first, self.last = (seqs[0], seqs[-1]) if seqs else (0, 0)
        in_a_row = bool(seqs) and seqs == list(range(self.first, self.last + 1))
        self.plain = in_a_row and len(seqs) == len(items)  # only events, without a gap
        self.shared = self.plain and not items[0].replayed  # other viewers get the same bytes
        self.epoch = next((item.epoch for item in items if item.type == "welcome"), "")
        gifts = [item for item in items if item.type == "gifts.sent"]
        self.gifts, self.coins = len(gifts), sum(item.coins or 0 for item in gifts)
        live = [item for item in items if not item.replayed]
        self.said = _marks(item.text for item in live if item.type == "chat.sent")
        self.shown = _marks(item.message for item in live if item.type == "gifts.sent")
        self.arrivals: dict[int, int] = {}  # number of viewers, by time of arrival


def _marks(texts: Iterable[str | None]) -> list[int]:
    found = []
    for text in filter(None, texts):
        at = text.rfind(MARK)
        if at >= 0:
            found.append(int(text[at + 2 : at + 18], 16))
    return found if len(found) <= MARKS_MAX else found[:: len(found) // MARKS_MAX + 1]


def mark(at_ns: int | None = None) -> str:
    """A mark to put into a text: the time of sending. The letter before it keeps the server from seeing a mention."""
    return f"m{MARK}{time.time_ns() if at_ns is None else at_ns:016x}"


class Log:
    """What a room sent in one epoch to any viewer of this process: each event by seq, and each gift."""

    def __init__(self) -> None:
        self.prints: dict[int, int] = {}  # by seq: a hash of the event's id, and its class
        self.gifts: dict[str, tuple[int, int]] = {}  # by gift id: seq, coins
        self.coins_at: dict[int, int] = {}  # by seq of a gift
        self.wrong: list[str] = []

    def add(self, items: list[Item]) -> None:
        for item in items:
            if item.type in PRIVATE:
                continue
            if len(self.prints) >= EVENTS_MAX:
                self.wrong = [f"more than {EVENTS_MAX} events: the later ones are not checked"]
                return
            print_ = zlib.crc32(item.id.encode()) << 2 | CLASS_OF.get(item.type, KEPT)
            if self.prints.setdefault(item.seq, print_) != print_:
                self.wrong.append(f"seq {item.seq} is one event for some and {item.id} for others")
            if item.type == "gifts.sent":
                coins = item.coins or 0
                if self.gifts.setdefault(item.id, (item.seq, coins)) != (item.seq, coins):
                    self.wrong.append(f"gift {item.id} was shown as seq {self.gifts[item.id][0]} and as {item.seq}")
                self.coins_at[item.seq] = coins


class Hall:
    """A room as this process sees it: its frames of the last two seconds, and a log for each epoch."""

    frames_kept_max: ClassVar[int] = 4_000

    def __init__(self, room: str, recorder: Recorder) -> None:
        self.room = room
        self._recorder = recorder
        self.logs: dict[str, Log] = {}
        self._new: dict[tuple[str, Frame], Heard] = {}
        self._old: dict[tuple[str, Frame], Heard] = {}

    def log(self, epoch: str) -> Log:
        return self.logs.setdefault(epoch, Log())

    def hear(self, frame: Frame, epoch: str, codec: Codec, now_ns: int) -> Heard:
        """Returns the frame, decoded now or before. `epoch` is from the socket's welcome, '' before it."""
        heard = self._new.get((epoch, frame)) or self._old.get((epoch, frame))
        if heard is None:
            heard = Heard(_DECODE[codec](frame))
            if heard.first:
                self.log(heard.epoch or epoch).add(heard.items)
            if not heard.shared or len(self._new) >= self.frames_kept_max:
                self._record(heard, now_ns, 1)
                return heard
            self._new[(epoch, frame)] = heard
        if heard.said or heard.shown:
            step = now_ns >> STEP_BITS
            heard.arrivals[step] = heard.arrivals.get(step, 0) + 1
        return heard

    def turn(self) -> None:
        """Once a second: turn arrivals into latencies, and forget frames that no longer arrive."""
        for heard in (*self._old.values(), *self._new.values()):
            for step, times in heard.arrivals.items():
                self._record(heard, (step << STEP_BITS) + (1 << (STEP_BITS - 1)), times)
            heard.arrivals.clear()
        self._old, self._new = self._new, {}

    def _record(self, heard: Heard, at_ns: int, times: int) -> None:
        for said_ns in heard.said:
            self._recorder.record("event to received", at_ns - said_ns, times)
        for said_ns in heard.shown:
            self._recorder.record("gift to shown", at_ns - said_ns, times)
