"""What may be given in a room, to whom, and what of a gift the others see. Nothing here is about the wallet."""

from typing import NamedTuple

from protocol.chat import ChatRefusal
from protocol.gifts import ANONYMOUS, MESSAGE_CHARS_MAX, Gift, GiftSent, GiftsRefusal, SendGift, ShownGift
from protocol.members import MembersRefusal
from protocol.refusals import Refusal, Refused
from protocol.users import UsersRefusal
from protocol.wire import User
from server.rates import Terms
from server.rooms.automod import AUTOMOD
from server.rooms.room import Member, Room
from server.rooms.saying import check_standing, has_link
from server.text import NotSeen, clean
from server.tokens import Facts


class Shown(NamedTuple):
    """The message of a gift as others see it, and why they do not, if it is left out."""

    message: str | None
    left_out: str | None = None


def gift_of(room: Room, member: Member, command: SendGift) -> Gift:
    """Check everything but the wallet, and return the catalogue's gift. Raises Refused."""
    about, to = room.about, command.to or room.about.host.user_id
    if about.status != "live":
        raise Refused(Refusal.ROOM_NOT_LIVE)
    if not about.settings.gifts:
        raise Refused(Refusal.GIFTS_OFF)
    gift = room.services.catalogue.get(command.gift)
    if gift is None:
        raise Refused(Refusal.UNKNOWN_GIFT)
    if to == member.user_id:
        raise Refused(Refusal.SELF_GIFT)
    check_standing(room, member.user_id, "send_gifts")
    if to not in room.receivers() or room.services.users.suspended(to, "receive_gifts") is not None:
        raise Refused(Refusal.RECEIVER_NOT_ELIGIBLE)
    _check_limits(gift, member.facts)
    _check_message(room, command, gift.coins * command.count)
    return gift


def _check_limits(gift: Gift, facts: Facts) -> None:
    """Raise Refused unless the token says that this person may give it: who has said nothing may not."""
    if gift.regions and facts.region not in gift.regions:
        raise Refused(GiftsRefusal.REGION_NOT_ALLOWED)
    if gift.adult and not facts.adult:
        raise Refused(GiftsRefusal.ADULTS_ONLY)
    if facts.level < gift.min_level:
        raise Refused(GiftsRefusal.LEVEL_TOO_LOW, need=gift.min_level, have=facts.level)


def _check_message(room: Room, command: SendGift, coins: int) -> None:
    """Raise Refused for a message of which nothing would be seen, or that needs a bigger gift. No money has moved."""
    if command.message is None:
        return
    try:
        clean(command.message, MESSAGE_CHARS_MAX)
    except NotSeen:
        raise Refused(Refusal.BAD_COMMAND, field="message") from None
    need = room.about.settings.gift_min_coins_message
    if coins < need:
        raise Refused(GiftsRefusal.MESSAGE_NEEDS_COINS, need=need)


async def shown_message(room: Room, member: Member, command: SendGift) -> Shown:
    """The message, unless the sender could not say it in the chat: then the gift is shown without it."""
    if command.message is None:
        return Shown(None)
    try:
        text = clean(command.message, MESSAGE_CHARS_MAX)
    except NotSeen:  # of a gift that was paid before
        return Shown(None)
    if room.services.users.suspended(member.user_id, "chat") is not None:
        return Shown(None, str(UsersRefusal.SUSPENDED))
    why = await _why_left_out(room, member, text)
    if why is not None or room.people.of(member.user_id).hidden:  # who is hidden is not to know it
        return Shown(None, why)
    return Shown(text)


async def _why_left_out(room: Room, member: Member, text: str) -> str | None:
    """Why the chat would not take this text, as its refusals say; `held` if it would wait for staff."""
    if member.role in ("host", "moderator"):
        return None
    verdict = await AUTOMOD.verdict(room, text)
    if verdict.action != "pass":
        return str(Refusal.BLOCKED_WORDS) if verdict.action == "refuse" else "held"
    if not room.about.in_force.links and has_link(text):
        return str(ChatRefusal.LINKS_OFF)
    now_ms = room.services.clock.now_ms()
    if room.people.muted_until_ms(member.user_id, room.about.broadcast_id, now_ms) is not None:
        return str(Refusal.MUTED)
    return str(MembersRefusal.WARNED) if room.people.of(member.user_id).warned else None


def terms_of(room: Room, to: str | None) -> Terms:
    """The terms by which a gift's receiver is credited: those of their region."""
    services = room.services
    return services.rates.terms(services.users.region(to or room.about.host.user_id))


def gift_event(
    room: Room,
    by: User,
    gift: Gift,
    count: int,
    *,
    id: str,
    to: str | None = None,
    message: str | None = None,
    test: bool = False,
    received_at_ms: int = 0,
) -> GiftSent:
    """A gift as the room sees it, before it is paid and without its streak."""
    coins = gift.coins * count
    return GiftSent(
        id=id,
        from_=by,
        to=room.receivers()[to or room.about.host.user_id],
        gift=ShownGift(gift.id, gift.name, gift.coins, gift.tier, gift.animation),
        count=count,
        coins=coins,
        diamonds=terms_of(room, to).rates.diamonds_of(coins, gift.diamonds * count),
        message=message,
        test=test,
        combo=None,
        received_at_ms=received_at_ms,
    )


def giver(member: Member, command: SendGift) -> User:
    """Who gave, as the room sees them."""
    return ANONYMOUS if command.anonymous else member.as_user()


def streak_id(room: Room, member: Member, command: SendGift) -> str | None:
    """The streak's id in the wallet and in the room.

    An anonymous one gets another: the sender's own could stand in gifts with their name, and two could have the same.
    """
    if command.combo is None or not command.anonymous:
        return command.combo
    return room.services.tokens.mask("combo", member.user_id, command.gift, command.combo)
