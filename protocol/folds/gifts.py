"""Coins and streaks, as the room's events change them."""

from protocol.folding import Changed, begins, folds
from protocol.gifts import GiftComboEnded, GiftRef, GiftRefunded, GiftSent, OpenCombo
from protocol.rooms import Snapshot


@begins
def gifts_begin(_room: Snapshot) -> Changed:
    return {"coins": 0, "open_combos": ()}


@folds(GiftSent)
def gift_sent(room: Snapshot, event: GiftSent) -> Changed:
    if event.test:
        return {}
    combos = room.open_combos
    if event.combo is not None:
        key = (event.combo.id, event.from_.user_id, event.gift.id)
        old = next((combo for combo in combos if _key(combo) == key), None)
        streak = OpenCombo(
            id=event.combo.id,
            count=max(event.combo.count, old.count if old else 0),
            from_=event.from_,
            to=event.to,
            gift=GiftRef(event.gift.id),
            coins=event.coins + (old.coins if old else 0),
        )
        combos = (*(combo for combo in combos if combo is not old), streak)
    return {"coins": room.coins + event.coins, "open_combos": combos}


@folds(GiftRefunded)
def gift_refunded(room: Snapshot, event: GiftRefunded) -> Changed:
    return {"coins": max(0, room.coins - event.coins)}


@folds(GiftComboEnded)
def combo_ended(room: Snapshot, event: GiftComboEnded) -> Changed:
    key = (event.combo.id, event.from_.user_id, event.gift.id)
    return {"open_combos": tuple(combo for combo in room.open_combos if _key(combo) != key)}


def _key(combo: OpenCombo) -> tuple[str, str, str]:
    return combo.id, combo.from_.user_id, combo.gift.id
