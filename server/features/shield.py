"""The shield: who the token says is new cannot chat while it is on. `rooms.about` makes the settings stricter."""

from protocol.chat import ChatSent, SendChat
from protocol.refusals import Refused
from protocol.shield import ShieldRefusal
from server import limits
from server.rooms.registry import screens
from server.rooms.room import Member, Room


@screens(1)
async def screen(room: Room, member: Member, _command: SendChat, _event: ChatSent) -> None:
    """Refuse who is new. Raises Refused."""
    if room.about.settings.shield and (wait_ms := new_for_ms(member, room.services.clock.now_ms())) > 0:
        raise Refused(ShieldRefusal.SHIELDED, retry_after_ms=wait_ms)


def new_for_ms(member: Member, now_ms: int) -> int:
    """How long somebody is still new, by the facts in their token. Who has none of these facts is not."""
    facts = member.facts
    followed, made = facts.follower_since_ms, facts.account_since_ms
    ends = (
        0 if followed is None else followed + limits.SHIELD_FOLLOWED_MS,
        0 if made is None else made + limits.SHIELD_ACCOUNT_MS,
    )
    return max(ends) - now_ms
