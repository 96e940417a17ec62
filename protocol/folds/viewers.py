"""How many watch, as the room's events change it."""

from protocol.folding import Changed, begins, folds
from protocol.rooms import Snapshot, Viewers
from protocol.viewers import ViewersCounted


@begins
def viewers_begin(room: Snapshot) -> Changed:
    """Those present are the first viewers of the new broadcast."""
    here = room.viewers.now
    return {"viewers": Viewers(here, here, here)}


@folds(ViewersCounted)
def viewers_counted(_room: Snapshot, event: ViewersCounted) -> Changed:
    return {"viewers": Viewers(event.now, event.peak, event.unique)}
