"""Events by their id: those that staff and viewers point at."""

from collections.abc import Container

import msgspec

from server import limits
from server.rooms.history import Recorded
from server.rooms.room import Room


async def find_event(room: Room, event_id: str, tags: Container[str]) -> Recorded | None:
    """An event of these types by its id, of the room's newest ones. Raises StoreError."""
    after = max(0, room.head - limits.LOOK_BACK)
    events = room.outbox.after(after, room.head)
    if events is None:
        events = await room.services.history.kept(room.id, after, room.head)
    named = b'"id":"%b"' % event_id.encode()
    for event in reversed(events):
        if event.tag in tags and named in event.json and msgspec.json.decode(event.json)["id"] == event_id:
            return event
    return None
