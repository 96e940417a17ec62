"""The sum of likes, as the room's events change it."""

from protocol.folding import Changed, begins, folds
from protocol.likes import LikesCounted
from protocol.rooms import Snapshot


@begins
def likes_begin(_room: Snapshot) -> Changed:
    return {"likes": 0}


@folds(LikesCounted)
def likes_counted(_room: Snapshot, event: LikesCounted) -> Changed:
    return {"likes": event.total}
