"""Which chats of a room's history were deleted later: who reads or missed them is not to see them, nor a quote of them.

For readers of the history a node looks at each event of a room once, as far as somebody reads that room's history.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from server import limits
from server.rooms.history import History, Recorded

ROOMS_MAX = 10**3  # of which a node remembers deleted chats
CHAT, DELETED = "chat.sent", "chat.deleted"


class _Deleted(Struct, frozen=True):
    """Messages that staff took away, or all of some people until then."""

    ids: tuple[str, ...] = ()
    user_ids: tuple[str, ...] = ()


class _Author(Struct, frozen=True):
    user_id: str


class _Quoted(Struct, frozen=True):
    id: str
    user: _Author


class _Chat(Struct, frozen=True):
    id: str
    user: _Author
    reply_to: _Quoted | None = None


class _Gone:
    """What was deleted up to the seq `to` of an epoch: by id, and by person until a seq."""

    __slots__ = ("_named", "epoch", "ids", "to", "users")

    def __init__(self, epoch: str = "", events: Iterable[Recorded] = ()) -> None:
        self.epoch = epoch
        self.to = 0
        self.ids: dict[str, int] = {}
        self.users: dict[str, int] = {}
        self._named: re.Pattern[bytes] | None = None
        for event in events:
            self.add(event)

    def add(self, event: Recorded) -> None:
        if event.tag == DELETED:
            gone = msgspec.json.decode(event.json, type=_Deleted)
            self.ids |= dict.fromkeys(gone.ids, event.seq)
            self.users |= dict.fromkeys(gone.user_ids, event.seq)
            self._named = None
        self.to = max(self.to, event.seq)

    def forget(self, before: int) -> None:
        """Drop what concerns no event that is still kept."""
        self.ids = {id: seq for id, seq in self.ids.items() if seq > before}
        self.users = {id: seq for id, seq in self.users.items() if seq > before}
        self._named = None

    def left_of(self, event: Recorded) -> Recorded | None:
        """The event, without a quote of what is deleted; None if it is a chat that is deleted itself."""
        if event.tag != CHAT or not (self.ids or self.users) or not self._may_concern(event):
            return event
        chat = msgspec.json.decode(event.json, type=_Chat)
        if self._has(chat.id, chat.user, event.seq):
            return None
        quoted = chat.reply_to
        return event if quoted is None or not self._has(quoted.id, quoted.user, event.seq) else _without_quote(event)

    def left(self, events: Iterable[Recorded]) -> list[Recorded]:
        """What is left of these events."""
        return [left for event in events if (left := self.left_of(event)) is not None]

    def _has(self, id: str, author: _Author, seq: int) -> bool:
        return id in self.ids or self.users.get(author.user_id, 0) > seq

    def _may_concern(self, event: Recorded) -> bool:
        """A quick look: nearly all chats name nothing of it, and to decode each would cost as much as to send it."""
        if self._named is None:
            names = (re.escape(name).encode() for name in (*self.ids, *self.users))
            self._named = re.compile(b'id":"(?:' + b"|".join(names) + b')"')
        return self._named.search(event.json) is not None


def _without_quote(event: Recorded) -> Recorded:
    body = msgspec.json.decode(event.json)
    at_ms = str(body["at_ms"]).encode()
    left = {name: value for name, value in body.items() if name not in ("seq", "at_ms", "reply_to")}
    return Recorded(event.seq, at_ms, msgspec.json.encode(left))


def still_said(events: Sequence[Recorded]) -> Sequence[Recorded]:
    """These events without the chats that some of them delete, and without quotes of such."""
    deleted = [event for event in events if event.tag == DELETED]
    return _Gone(events=deleted).left(events) if deleted else events


class Unsaid:
    """What this node knows of deleted chats, by room."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._rooms: dict[str, _Gone] = {}

    async def without(self, room_id: str, epoch: str, head: int, events: list[Recorded]) -> list[Recorded]:
        """These events, but chats that were deleted up to the room's newest seq. Raises StoreError."""
        if all(event.tag != CHAT for event in events):
            return events
        gone = self._rooms.pop(room_id, None)  # the first is the room that nobody has read for longest
        if gone is None or gone.epoch != epoch:
            gone = _Gone(epoch)
        self._rooms[room_id] = gone
        while len(self._rooms) > ROOMS_MAX:
            del self._rooms[next(iter(self._rooms))]
        while gone.to < head:
            since = max(gone.to, head - limits.HISTORY_EVENTS_MAX)
            some = await self._history.kept(room_id, since, head, limits.EVENTS_LOOK)
            for event in some:
                gone.add(event)
            if not some:
                gone.to = head
        gone.forget(head - limits.HISTORY_EVENTS_MAX)
        return gone.left(events)
