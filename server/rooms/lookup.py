"""Events by their id: those that staff and viewers point at."""

from collections.abc import Container
from typing import Any

import msgspec

from server import limits
from server.rooms.history import Recorded
from server.rooms.newest import CHAT, DELETED, names_chat
from server.rooms.room import Room


async def find_event(room: Room, event_id: str, tags: Container[str]) -> Recorded | None:
    """An event of these types by its id, of the room's newest ones, unless it is deleted. Raises StoreError."""
    after = max(0, room.head - limits.LOOK_BACK)
    events = room.outbox.after(after, room.head)
    if events is None:
        events = await room.services.history.kept(room.id, after, room.head)
    named = b'"id":"%b"' % event_id.encode()
    gone: list[dict[str, Any]] = []
    for event in reversed(events):
        if event.tag == DELETED:
            gone.append(msgspec.json.decode(event.json))
        elif event.tag in tags and named in event.json and (found := msgspec.json.decode(event.json))["id"] == event_id:
            deleted = event.tag == CHAT and any(names_chat(each, found) for each in gone)
            return None if deleted else event
    return None
