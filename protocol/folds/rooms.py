"""The room's own state, as its events change it."""

from typing import Any

from msgspec import UNSET

from protocol.folding import Changed, folds
from protocol.rooms import RoomDeleted, RoomEnded, RoomPaused, RoomResumed, RoomSuspended, RoomUpdated, Snapshot

_FIELDS = (
    *("title", "host", "settings", "status", "broadcast_id", "started_at_ms"),
    *("category", "hashtags", "language", "starts_at_ms"),
)


@folds(RoomUpdated)
def room_updated(_room: Snapshot, event: RoomUpdated) -> Changed:
    return {name: value for name in _FIELDS if (value := getattr(event, name)) is not UNSET}


@folds(RoomPaused, RoomResumed, RoomEnded, RoomSuspended, RoomDeleted)
def room_turned(_room: Snapshot, event: Any) -> Changed:
    return {"status": event.status}
