"""A client without I/O: it turns frames into typed events, folds them into a room, and makes frames to send.

client = RoomClient(lambda: time.time_ns() // 1_000_000)
async for frame in socket:              # ws://.../v1/rooms/demo/ws?token=...&{client.resume_query()}
    for told in client.receive(frame):  # Welcome, ChatSent, GiftSent, Answered, Missed, ...
        ...
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct

import protocol
from protocol import lenient
from protocol.chat import ChatDeleted, ChatSent, SendChat
from protocol.chatlines import ChatLines
from protocol.closes import comes_back
from protocol.folding import fold
from protocol.gifts import GiftRefunded, GiftSent, SendGift
from protocol.ids import uuid7
from protocol.likes import SendLikes
from protocol.ping import Ping
from protocol.rooms import Snapshot
from protocol.session import Heartbeat, Notice, RefreshSession, WalletChanged, Welcome, You
from protocol.unanswered import Unanswered
from protocol.wire import Codec, Command, Event, Message

GIFT_IDS_REMEMBERED = 100_000  # distinct gifts that were counted; an older one is no longer replayed

Frame: TypeAlias = str | bytes  # text for JSON, binary for msgpack, as in websocket libraries


class Answered(Struct, frozen=True, kw_only=True):
    """The reply to one of our commands. `reason` is None if it was carried out. `fields` are the reply's own."""

    command: Command
    reason: str | None
    fields: dict[str, Any]

    @property
    def ok(self) -> bool:
        return self.reason is None


class Missed(Struct, frozen=True, kw_only=True):
    """Events that are lost for good, from seq to seq. The new snapshot shows the room."""

    from_: int
    to: int


class Lost(Struct, frozen=True, kw_only=True):
    """A connection is over. `unanswered` commands will not be sent again; they may have been carried out."""

    code: int
    comes_back: bool
    unanswered: tuple[Command, ...]


Told: TypeAlias = Event | Message | Welcome | WalletChanged | Notice | Heartbeat | Answered | Missed


class RoomClient:
    """One person in one room, over any number of connections. `clock_ms` is the local wall clock.

    `chats` is how many of the newest chats to get on joining and after a gap, at most 50: `chat_lines`.
    `since` is a position of before, to resume from.
    """

    def __init__(
        self, clock_ms: Callable[[], int], *, codec: Codec = "json", chats: int = 0, since: str | None = None
    ) -> None:
        self.codec: Codec = codec
        self.epoch, _, seq = (since or "").rpartition(":")
        self.room: Snapshot | None = None  # from the welcome, with every later event folded in
        self.you: You | None = None
        self.gift_coins = 0  # coins of all gifts seen, over distinct ids
        self.gifts = 0
        self.refunded_coins = 0  # of these, what events took back, each once
        self.skipped = 0  # seqs that a live connection left out: hidden chat, counts replaced by newer ones
        self.missed = 0  # events behind the `gap` of a welcome
        self.unknown = 0  # messages of types or shapes unknown here
        self._clock_ms = clock_ms
        self._chats = chats
        self._lines = ChatLines() if chats else None
        self._clock_ahead_ms = 0  # the server's clock minus ours
        self._seq = int(seq) if self.epoch else 0
        self._snapshot_seq = 0
        self._again_seq = 0  # of the newest gift that a new epoch has sent again
        self._replays = 0  # events of a gap that are still to come ...
        self._came_with: str | None = None  # ... until then we come back with the position of before
        self._gift_ids: OrderedDict[str, None] = OrderedDict()
        self._wallet_entry = (0, 0)
        self._unanswered = Unanswered()

    # --- position ----------------------------------------------------------------------------------------------
    @property
    def seq(self) -> int:
        """The last seq that we have seen, as an event or in the snapshot."""
        return self._seq

    @property
    def chat_lines(self) -> tuple[ChatSent, ...]:
        """The last 200 messages, without deleted ones. Empty unless `chats` were asked for."""
        return tuple(self._lines.lines) if self._lines else ()

    def resume_query(self) -> str:
        """The part of the query that resumes here: `since=<epoch>:<seq>` after the first welcome, and `chats=<n>`."""
        since = [f"since={self.since}"] if self.since else []
        return "&".join([*since, f"chats={self._chats}"] if self._chats else since)

    @property
    def since(self) -> str | None:
        """Where to resume: `<epoch>:<seq>`, or None before the first welcome. Keep it once its events are handled."""
        if self._replays:
            return self._came_with
        return f"{self.epoch}:{self._seq}" if self.epoch else None

    def server_now_ms(self) -> int:
        """The server's clock, estimated from the last message that contained it."""
        return self._clock_ms() + self._clock_ahead_ms

    # --- receiving ----------------------------------------------------------------------------------------------
    def receive(self, frame: Frame) -> list[Told]:
        """The news in one frame, in order, without repeated and unknown messages. Raises msgspec.DecodeError."""
        return [told for news, _ in self.read(frame) for told in news]

    def read(self, frame: Frame) -> Iterator[tuple[list[Told], str | None]]:
        """The same message by message, each with the position to resume from when it has been handled."""
        for message in msgspec.json.decode(frame) if isinstance(frame, str) else self._decode(frame):
            try:
                told = self._take(message)
            except msgspec.ValidationError:  # a known type in a newer server's form
                self.unknown += 1
                continue
            yield told, self.since

    def _decode(self, frame: bytes) -> Any:
        return msgspec.json.decode(frame) if self.codec == "json" else msgspec.msgpack.decode(frame)

    def _take(self, message: dict[str, Any]) -> list[Told]:
        told: list[Told] = []
        match message["type"]:  # replies and the welcome may have a seq too: the type decides
            case "welcome":
                told = self._welcome(message)
            case "ok" | "refused":
                told = self._answer(message)
            case "wallet.changed":
                told = self._wallet(lenient.convert(message, WalletChanged))
            case "notice":
                told = [lenient.convert(message, Notice)]
            case "heartbeat":
                told = [Heartbeat()]
            case _ if "seq" in message:
                told = self._event(message)
            case kind if kind in protocol.MESSAGES:
                told = [lenient.convert(message, protocol.MESSAGES[kind])]
            case _:
                told = self._aside(message)
        return told

    def _welcome(self, message: dict[str, Any]) -> list[Told]:
        room = lenient.convert(message["room"], protocol.SNAPSHOT)
        welcome = lenient.convert({**message, "room": Raw(msgspec.json.encode(room))}, Welcome)
        self._came_with, self._replays = self.since, welcome.replays
        self._again_seq = welcome.seq if welcome.epoch == self.epoch else 0
        self.room, self.you, self.epoch = room, welcome.you, welcome.epoch
        self._snapshot_seq = welcome.seq
        if not welcome.resumed:  # otherwise the missed events come next
            self._seq = welcome.seq
        self._clock_ahead_ms = welcome.server_time_ms - self._clock_ms()
        if welcome.gap is None:
            return [welcome]
        gap = Missed(from_=welcome.gap["from"], to=welcome.gap["to"])
        self.missed += max(0, gap.to - gap.from_ + 1)
        return [welcome, gap]

    def _answer(self, message: dict[str, Any]) -> list[Told]:
        command = self._unanswered.take(message.get("ref"))
        if command is None:
            return []
        if isinstance(command, Ping) and "server_time_ms" in message:
            self._clock_ahead_ms = message["server_time_ms"] - self._clock_ms()
        if isinstance(command, SendGift) and "entry" in message and not message["duplicate"]:  # that has an old one
            self._balance(message["coins"], message["entry"])
        fields = {name: value for name, value in message.items() if name not in ("type", "ref", "reason")}
        return [Answered(command=command, reason=message.get("reason"), fields=fields)]

    def _wallet(self, changed: WalletChanged) -> list[Told]:
        return [changed] if self._balance(changed.coins, changed.entry) else []

    def _balance(self, coins: int, entry: str | None) -> bool:
        """Balances may overtake each other between nodes: the ledger entry `<epoch>-<n>` says which is newer."""
        if entry is None:  # the balance that the welcome did not have
            if self.you is None or self.you.coins is not None:
                return False
            self.you = msgspec.structs.replace(self.you, coins=coins)
            return True
        epoch, _, n = entry.partition("-")
        try:
            place = (int(epoch), int(n))
        except ValueError:
            raise msgspec.ValidationError("no ledger entry") from None
        if place <= self._wallet_entry or self.you is None:
            return False
        self._wallet_entry = place
        self.you = msgspec.structs.replace(self.you, coins=coins)
        return True

    def _event(self, message: dict[str, Any]) -> list[Told]:
        seq: int = message["seq"]
        replayed = message.get("replayed") is True
        again = replayed and seq <= self._seq and (self._again_seq < seq or self._replays > 0)
        self._replays = max(0, self._replays - 1) if replayed else 0
        if self.room is None or (seq <= self._seq and not again):
            return []
        if again:
            self._again_seq = max(self._again_seq, seq)
        else:
            self.skipped += seq - self._seq - 1
            self._seq = seq
        event = protocol.convert_event(message)
        if event is None:
            self.unknown += 1
            return []
        self._heard(event)
        if seq > self._snapshot_seq:  # the snapshot already includes replayed events
            self.room = fold(self.room, event)
        return [event] if self._is_news(event) else []

    def _heard(self, event: Event) -> None:
        """Our clock may have slept: the server's is at least where its newest event is."""
        if not event.replayed:
            self._clock_ahead_ms = max(self._clock_ahead_ms, event.at_ms - self._clock_ms())

    def _is_news(self, event: Event) -> bool:
        """Whether to tell of it: not of a gift or a message that was told before, or of one that was deleted."""
        if isinstance(event, GiftSent):
            return self._count(event)
        if isinstance(event, GiftRefunded):
            return self._take_back(event)
        if self._lines and isinstance(event, ChatDeleted):
            self._lines.delete(event)
        return not (self._lines and isinstance(event, ChatSent)) or self._lines.take(event)

    def _aside(self, message: dict[str, Any]) -> list[Told]:
        """A room event without a place in the room's order: its sender is hidden from others."""
        event = protocol.convert_event(message)
        self.unknown += event is None
        return [] if event is None else [event]

    def _count(self, gift: GiftSent) -> bool:
        """Count a gift. False if it was seen before, even under another seq or epoch."""
        if not self._is_new(gift.id):
            return False
        if not gift.test:
            self.gifts += 1
            self.gift_coins += gift.coins
        return True

    def _take_back(self, refund: GiftRefunded) -> bool:
        if not self._is_new(refund.id):
            return False
        if refund.gift_id in self._gift_ids:
            self.refunded_coins += refund.coins
        return True

    def _is_new(self, event_id: str) -> bool:
        if event_id in self._gift_ids:
            return False
        self._gift_ids[event_id] = None
        if len(self._gift_ids) > GIFT_IDS_REMEMBERED:
            self._gift_ids.popitem(last=False)
        return True

    def lost(self, code: int = 1006) -> Lost:
        """Call when the connection closes with this code (1006: without one). Unanswered gifts wait for `resend`."""
        return Lost(code=code, comes_back=comes_back(code), unanswered=self._unanswered.lose())

    # --- sending ------------------------------------------------------------------------------------------------
    @property
    def unanswered(self) -> tuple[Command, ...]:
        """The commands that were sent, or wait for a connection, and have no reply yet."""
        return self._unanswered.all

    def send(self, command: Command) -> Frame:
        """Make the frame of a command. It gets a `ref`; its reply will be an `Answered`."""
        return self._frame(self._unanswered.add(command))

    def wait(self, command: Command) -> Command:
        """Keep a command while there is no connection: `resend` gives its frame. Raises QueueFull."""
        return self._unanswered.wait(command)

    def give_up(self, ref: str | None) -> bool:
        """Wait for no reply to a command any more. Returns whether it may have been carried out."""
        said = self._unanswered.was_said(ref)
        self._unanswered.take(ref)
        return said

    def chat(self, text: str) -> Frame:
        return self.send(SendChat(text=text))

    def likes(self, count: int = 1) -> Frame:
        return self.send(SendLikes(count=count))

    def ping(self) -> Frame:
        return self.send(Ping())

    def refresh(self, token: str) -> Frame:
        """Make the frame of a newer token for the same person, so that the socket stays when the old one expires."""
        return self.send(RefreshSession(token=token))

    def gift(
        self,
        gift: str,
        count: int = 1,
        *,
        to: str | None = None,
        combo: str | None = None,
        message: str | None = None,
        anonymous: bool = False,
    ) -> Frame:
        """Make the frame of a new gift, whose id has the server's time. To repeat a gift, `send` its command again."""
        return self.send(self.new_gift(gift, count, to=to, combo=combo, message=message, anonymous=anonymous))

    def new_gift(self, gift: str, count: int = 1, **more: Any) -> SendGift:
        """The command of a new gift, for `send` or `wait`."""
        return SendGift(id=uuid7(self.server_now_ms()), gift=gift, count=count, **more)

    def resend(self) -> list[Frame]:
        """After a welcome: the frames of gifts without a reply, with their old ids, and of commands that waited.

        No gift is paid twice, and no other command is ever sent a second time.
        """
        return [self._frame(command) for command in self._unanswered.again()]

    def _frame(self, command: Command) -> Frame:
        given = {  # what is as if it were absent is left out: an older server may not know it
            field.encode_name: value
            for field in msgspec.structs.fields(command)
            if (value := getattr(command, field.name)) is not UNSET and (field.required or value != field.default)
        }
        message = {"type": command.__struct_config__.tag, **given}
        return msgspec.json.encode(message).decode() if self.codec == "json" else msgspec.msgpack.encode(message)
