"""Thanks: the host thanks for a gift of this broadcast, once, and everybody sees it."""

from typing import cast

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from protocol.gifts import GiftRef, GiftSent, GiftThanked, ThankGift
from protocol.refusals import Refusal, Refused
from protocol.thanks import ThanksRefusal
from protocol.wire import encode
from server import limits
from server.journal import given
from server.journal.database import ask
from server.rooms.given import ONCE
from server.rooms.registry import handles
from server.rooms.room import Member, Room
from server.rooms.staff import HOST, Deed, actor, check
from server.store import keys, scripts

GIVE = scripts.load("thanks_give")
SCRIPTS = (GIVE,)
keys.of_room("thanked", "Set: the gifts of this broadcast for which the host has thanked.")


@handles(ThankGift)
async def thank_gift(room: Room, member: Member, command: ThankGift) -> None:
    """Thank for a gift. Raises Refused."""
    check(room, actor(member), Deed(act="gifts.thank", least=HOST))
    once = keys.room(room.id, ONCE, command.gift_id)
    gift = await _find(room, once, command.gift_id)
    if gift is None:
        raise Refused(ThanksRefusal.NO_SUCH_GIFT)
    event = GiftThanked(
        id=room.services.clock.new_id(),
        gift_id=gift.id,
        user=gift.from_,
        gift=GiftRef(gift.gift.id),
        count=gift.count,
    )
    outcome = await room.services.history.change(room.id, GIVE, once=once, gift_id=command.gift_id, event=encode(event))
    if outcome[0] == b"unknown":
        raise Refused(ThanksRefusal.NO_SUCH_GIFT)


async def _find(room: Room, once: str, gift_id: str) -> GiftSent | None:
    """The gift as the room has shown it: in its history, or in the journal. Raises Refused."""
    history = room.services.history
    shown = cast(bytes | None, await history.store.call("GET", once))
    seq = int(shown) if shown is not None and shown.isdigit() else 0
    if not seq:
        return None
    for event in await history.kept(room.id, seq - 1, seq):
        if event.tag == "gifts.sent":
            return msgspec.json.decode(event.json, type=GiftSent)
    try:
        journaled = await ask(given.shown, room.services.engine, room.id, gift_id)
    except SQLAlchemyError:
        raise Refused(Refusal.UNAVAILABLE, retry_after_ms=limits.SPEND_RETRY_MS) from None
    return None if journaled is None else msgspec.json.decode(journaled, type=GiftSent)
