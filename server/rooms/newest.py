"""The newest chats of a room, for newcomers who ask for them: an empty chat looks like an empty room."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from server import limits
from server.rooms.history import Recorded
from server.rooms.room import Room

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
            gone = msgspec.json.decode(event.json)
            kept = [chat for chat in kept if not names_chat(gone, msgspec.json.decode(chat.json))]
        elif _begins(event):
            kept = []
    return kept[-limits.NEWEST_CHATS_MAX :]


def _begins(event: Recorded) -> bool:
    """Whether another broadcast begins."""
    return event.tag == UPDATED and b'"broadcast_id"' in event.json


def names_chat(gone: dict[str, Any], chat: dict[str, Any]) -> bool:
    """Whether a `chat.deleted` takes this chat away."""
    return chat["id"] in gone.get("ids", ()) or chat["user"]["user_id"] in gone.get("user_ids", ())
