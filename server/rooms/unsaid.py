"""Which chats of a room's history were deleted later: who reads the history is not to see them.

A node looks at each event of a room once, as far as somebody reads that room's history.
"""

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


class _Chat(Struct, frozen=True):
    id: str
    user: _Author


class _Gone:
    """What was deleted up to the seq `to` of an epoch: by id, and by person until a seq."""

    __slots__ = ("epoch", "ids", "to", "users")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.to = 0
        self.ids: dict[str, int] = {}
        self.users: dict[str, int] = {}

    def add(self, event: Recorded) -> None:
        if event.tag == DELETED:
            gone = msgspec.json.decode(event.json, type=_Deleted)
            self.ids |= dict.fromkeys(gone.ids, event.seq)
            self.users |= dict.fromkeys(gone.user_ids, event.seq)
        self.to = max(self.to, event.seq)

    def forget(self, before: int) -> None:
        """Drop what concerns no event that is still kept."""
        self.ids = {id: seq for id, seq in self.ids.items() if seq > before}
        self.users = {id: seq for id, seq in self.users.items() if seq > before}

    def has(self, event: Recorded) -> bool:
        if event.tag != CHAT or not (self.ids or self.users):
            return False
        chat = msgspec.json.decode(event.json, type=_Chat)
        return chat.id in self.ids or self.users.get(chat.user.user_id, 0) > event.seq


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
        return [event for event in events if not gone.has(event)]
