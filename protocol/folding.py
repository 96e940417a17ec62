"""Folding for the Python client: applies an event to a room. Each feature registers its own folds (folds/)."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from protocol.rooms import RoomUpdated, Snapshot
from protocol.wire import Event

E = TypeVar("E", bound=Event)
Changed = Mapping[str, Any]  # the fields of the snapshot that changed

_FOLDS: dict[type[Event], list[Callable[[Snapshot, Any], Changed]]] = {}
_BEGINS: list[Callable[[Snapshot], Changed]] = []


def folds(*events: type[E]) -> Callable[[Callable[[Snapshot, E], Changed]], Callable[[Snapshot, E], Changed]]:
    """Register a function that returns what these events change. Several may fold one event, each its own fields."""

    def register(fold_: Callable[[Snapshot, E], Changed]) -> Callable[[Snapshot, E], Changed]:
        for event in events:
            _FOLDS.setdefault(event, []).append(fold_)
        return fold_

    return register


def folded_types() -> set[str]:
    """The types of events that change a room."""
    return {str(event.__struct_config__.tag) for event in _FOLDS}


def begins(begin: Callable[[Snapshot], Changed]) -> Callable[[Snapshot], Changed]:
    """Register a function that returns the fields to reset when the next broadcast begins."""
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
