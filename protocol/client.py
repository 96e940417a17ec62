"""A client without I/O: it turns frames into typed events, folds them into a room, and makes frames to send.

client = RoomClient(lambda: time.time_ns() // 1_000_000)
async for frame in socket:              # ws://.../v1/rooms/demo/ws?token=...&{client.resume_query()}
    for told in client.receive(frame):  # Welcome, ChatSent, GiftSent, Answered, Missed, ...
        ...
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw, Struct

import protocol
from protocol import lenient
from protocol.chat import ChatDeleted, ChatSent, SendChat
from protocol.chatlines import ChatLines
from protocol.closes import comes_back
from protocol.folding import fold
from protocol.gifts import GiftSent, SendGift
from protocol.ids import uuid7
from protocol.likes import SendLikes
from protocol.ping import Ping
from protocol.rooms import Snapshot
from protocol.session import Heartbeat, Notice, RefreshSession, WalletChanged, Welcome, You
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
    """

    def __init__(self, clock_ms: Callable[[], int], *, codec: Codec = "json", chats: int = 0) -> None:
        self.codec: Codec = codec
        self.epoch = ""
        self.room: Snapshot | None = None  # from the welcome, with every later event folded in
        self.you: You | None = None
        self.gift_coins = 0  # coins of all gifts seen, over distinct ids
        self.gifts = 0
        self.skipped = 0  # seqs that a live connection left out: hidden chat, counts replaced by newer ones
        self.missed = 0  # events behind the `gap` of a welcome
        self.unknown = 0  # messages of types or shapes unknown here
        self._clock_ms = clock_ms
        self._chats = chats
        self._lines = ChatLines() if chats else None
        self._clock_ahead_ms = 0  # the server's clock minus ours
        self._seq = 0
        self._snapshot_seq = 0
        self._again_seq = 0  # of the newest gift that a new epoch has sent again
        self._replays = 0  # events of a gap that are still to come ...
        self._came_with = ""  # ... until then we come back with the position of before
        self._gift_ids: OrderedDict[str, None] = OrderedDict()
        self._wallet_entry = (0, 0)
        self._unanswered: dict[str, Command] = {}
        self._refs = 0

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
        since = self._since()
        chats = f"chats={self._chats}" if self._chats else ""
        return f"{since}&{chats}" if since and chats else since or chats

    def _since(self) -> str:
        if self._replays:
            return self._came_with
        return f"since={self.epoch}:{self._seq}" if self.epoch else ""

    def server_now_ms(self) -> int:
        """The server's clock, estimated from the last message that contained it."""
        return self._clock_ms() + self._clock_ahead_ms

    # --- receiving ----------------------------------------------------------------------------------------------
    def receive(self, frame: Frame) -> list[Told]:
        """The news in one frame, in order, without repeated and unknown messages. Raises msgspec.DecodeError."""
        messages = msgspec.json.decode(frame) if isinstance(frame, str) else self._decode(frame)
        told: list[Told] = []
        for message in messages:
            try:
                told += self._take(message)
            except msgspec.ValidationError:  # a known type in a newer server's form
                self.unknown += 1
        return told

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
        self._came_with, self._replays = self._since(), welcome.replays
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
        command = self._unanswered.pop(message.get("ref") or "", None)
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
        if seq > self._snapshot_seq:  # the snapshot already includes replayed events
            self.room = fold(self.room, event)
        return [event] if self._is_news(event) else []

    def _is_news(self, event: Event) -> bool:
        """Whether to tell of it: not of a gift or a message that was told before, or of one that was deleted."""
        if isinstance(event, GiftSent):
            return self._count(event)
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
        if gift.id in self._gift_ids:
            return False
        self._gift_ids[gift.id] = None
        if len(self._gift_ids) > GIFT_IDS_REMEMBERED:
            self._gift_ids.popitem(last=False)
        if not gift.test:
            self.gifts += 1
            self.gift_coins += gift.coins
        return True

    def lost(self, code: int = 1006) -> Lost:
        """Call when the connection closes with this code (1006: without one). Unanswered gifts wait for `resend`."""
        given_up = {ref: command for ref, command in self._unanswered.items() if not isinstance(command, SendGift)}
        for ref in given_up:
            del self._unanswered[ref]
        return Lost(code=code, comes_back=comes_back(code), unanswered=tuple(given_up.values()))

    # --- sending ------------------------------------------------------------------------------------------------
    @property
    def unanswered(self) -> tuple[Command, ...]:
        """The commands that were sent and have no reply yet."""
        return tuple(self._unanswered.values())

    def send(self, command: Command) -> Frame:
        """Make the frame of a command. It gets a `ref`; its reply will be an `Answered`."""
        self._refs += 1
        ref = f"c{self._refs}"
        command = msgspec.structs.replace(command, ref=ref)
        self._unanswered[ref] = command
        return self._frame(command)

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
        gift_id = uuid7(self.server_now_ms())
        return self.send(
            SendGift(id=gift_id, gift=gift, count=count, to=to, combo=combo, message=message, anonymous=anonymous)
        )

    def resend(self) -> list[Frame]:
        """After a welcome: the frames of gifts without a reply, with their old ids. None is paid twice."""
        return [self._frame(command) for command in self._unanswered.values() if isinstance(command, SendGift)]

    def _frame(self, command: Command) -> Frame:
        said = msgspec.structs.asdict(command)  # an older server does not know what is not used
        given = {name: value for name, value in said.items() if value is not None and value is not False}
        message = {"type": command.__struct_config__.tag, **given}
        return msgspec.json.encode(message).decode() if self.codec == "json" else msgspec.msgpack.encode(message)
