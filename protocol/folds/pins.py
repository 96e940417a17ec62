"""Pins, as the room's events change them."""

from protocol.chat import ChatPinned, ChatUnpinned
from protocol.folding import Changed, begins, folds
from protocol.rooms import Snapshot


@begins
def pins_begin(_room: Snapshot) -> Changed:
    return {"pins": ()}


@folds(ChatPinned)
def chat_pinned(room: Snapshot, event: ChatPinned) -> Changed:
    return {"pins": (*(pin for pin in room.pins if pin.id != event.pin.id), event.pin)}


@folds(ChatUnpinned)
def chat_unpinned(room: Snapshot, event: ChatUnpinned) -> Changed:
    return {"pins": tuple(pin for pin in room.pins if pin.id != event.pin)}
