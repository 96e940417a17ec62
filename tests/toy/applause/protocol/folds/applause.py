"""The sum of the claps, as the room's events change it."""

from protocol.applause import ApplauseCounted
from protocol.folding import Changed, begins, folds
from protocol.gifts import GiftSent
from protocol.rooms import Snapshot

WELCOME = 3
PER_GIFT = 5


@begins
def applause_begins(_room: Snapshot) -> Changed:
    return {"applause": WELCOME}


@folds(ApplauseCounted)
def applause_counted(_room: Snapshot, event: ApplauseCounted) -> Changed:
    return {"applause": event.total}


@folds(GiftSent)
def gift_sent(room: Snapshot, _event: GiftSent) -> Changed:
    return {"applause": room.applause + PER_GIFT}
