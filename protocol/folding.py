"""Folding for the Python client: a room and an event after it make the next room. Features register theirs (folds/)."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from protocol.rooms import RoomUpdated, Snapshot
from protocol.wire import Event

E = TypeVar("E", bound=Event)
Changed = Mapping[str, Any]  # fields of the snapshot that are other ones now

_FOLDS: dict[type[Event], list[Callable[[Snapshot, Any], Changed]]] = {}
_BEGINS: list[Callable[[Snapshot], Changed]] = []


def folds(*events: type[E]) -> Callable[[Callable[[Snapshot, E], Changed]], Callable[[Snapshot, E], Changed]]:
    """Make a function say what these events change of a room. Several may fold one event, each its own fields."""

    def register(fold_: Callable[[Snapshot, E], Changed]) -> Callable[[Snapshot, E], Changed]:
        for event in events:
            _FOLDS.setdefault(event, []).append(fold_)
        return fold_

    return register


def begins(begin: Callable[[Snapshot], Changed]) -> Callable[[Snapshot], Changed]:
    """Make a function say what is of one broadcast, as the next one begins."""
    _BEGINS.append(begin)
    return begin


def fold(room: Snapshot, event: Event) -> Snapshot:
    """The room after an event that its snapshot has not counted."""
    if isinstance(event, RoomUpdated) and event.broadcast_id not in (UNSET, room.broadcast_id):
        for begin in _BEGINS:
            room = msgspec.structs.replace(room, **begin(room))
    for each in _FOLDS.get(type(event), ()):
        room = msgspec.structs.replace(room, **each(room, event))
    return room
