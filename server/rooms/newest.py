"""The newest chats of a room, for newcomers who ask for them: an empty chat looks like an empty room."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from server import limits
from server.rooms.history import Recorded
from server.rooms.room import Room
from server.rooms.unsaid import still_said
from server.store import keys

OWN = keys.of_room("own", "List per hidden person, which expires: their newest messages, `<broadcast> <message>`.")
CHAT, DELETED, UPDATED = "chat.sent", "chat.deleted", "room.updated"


class _Newest:
    """The newest chats up to seq `to`: one look back serves everybody who comes."""

    __slots__ = ("chats", "lock", "to")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.chats: list[Recorded] = []
        self.to = 0


async def newest_chats(room: Room, count: int, to: int) -> list[Recorded]:
    """Up to `count` chats of this broadcast up to seq `to`, none of them deleted, in order. Raises StoreError."""
    if count == 0:
        return []
    newest: _Newest = room.memory("newest", _Newest)
    async with newest.lock:
        if newest.to < to:
            since = room.outbox.after(newest.to, to) if newest.to else None
            newest.chats = await _look_back(room, to) if since is None else _with(newest.chats, since)
            newest.to = to
    return [event for event in newest.chats if event.seq <= to][-count:]


async def own_hidden(room: Room, user_id: str) -> list[bytes]:
    """What a hidden person said in this broadcast, for their own sockets: nobody else has it. Raises StoreError."""
    if not room.people.of(user_id).hidden:
        return []
    broadcast = f"{room.about.broadcast_id or ''} ".encode()
    said = cast(list[bytes], await room.services.history.store.call("LRANGE", keys.room(room.id, OWN, user_id), 0, -1))
    own = [one.removeprefix(broadcast) for one in said if one.startswith(broadcast)]
    return [b'{"replayed":true,' + message[1:] for message in own]


async def _look_back(room: Room, to: int) -> list[Recorded]:
    """Read the history page by page, until there are enough chats or the broadcast began."""
    events: list[Recorded] = []
    chats: list[Recorded] = []
    for end in range(to, 0, -limits.NEWEST_CHATS_PAGE):
        start = max(0, end - limits.NEWEST_CHATS_PAGE)
        page = room.outbox.after(start, end)
        if page is None:
            page = await room.services.history.kept(room.id, start, end)
        events[:0] = page
        chats = _with([], events)
        if not page or len(chats) >= limits.NEWEST_CHATS_MAX or any(map(_begins, page)):
            break
    return chats


def _with(chats: Sequence[Recorded], events: Sequence[Recorded]) -> list[Recorded]:
    """These chats, and what the events after them say."""
    kept = list(chats)
    for event in events:
        if event.tag == CHAT:
            kept.append(event)
        elif event.tag == DELETED:
            kept = [*still_said([*kept, event])][:-1]
        elif _begins(event):
            kept = []
    return kept[-limits.NEWEST_CHATS_MAX :]


def _begins(event: Recorded) -> bool:
    """Whether another broadcast begins."""
    return event.tag == UPDATED and b'"broadcast_id"' in event.json


def names_chat(gone: dict[str, Any], chat: dict[str, Any]) -> bool:
    """Whether a `chat.deleted` takes this chat away."""
    return chat["id"] in gone.get("ids", ()) or chat["user"]["user_id"] in gone.get("user_ids", ())
