"""The board of gifters, as the room's events change it."""

from protocol.boards import BoardChanged
from protocol.folding import Changed, begins, folds
from protocol.rooms import Snapshot


@begins
def board_begins(_room: Snapshot) -> Changed:
    return {"top": ()}


@folds(BoardChanged)
def board_changed(_room: Snapshot, event: BoardChanged) -> Changed:
    return {"top": event.top}
