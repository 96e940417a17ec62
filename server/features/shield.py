"""The shield: whose account is new cannot chat while it is on. `rooms.about` makes the settings stricter."""

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
    """How long an account is still new, by the token. One of which the token says nothing is not."""
    made = member.facts.account_since_ms
    return 0 if made is None else made + limits.SHIELD_ACCOUNT_MS - now_ms
