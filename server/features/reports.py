"""Reports: viewers tell staff about messages, and enough of them take one away until staff has decided."""

from typing import Any

import msgspec

from protocol import decode_event
from protocol.chat import ChatDeleted, ReportChat
from protocol.held import ChatHeld
from protocol.pins import PinsRefusal
from protocol.refusals import Refusal, Refused
from protocol.reports import ChatReported
from protocol.wire import User, encode
from server import limits
from server.rooms.history import Recorded
from server.rooms.lookup import find_event
from server.rooms.registry import handles
from server.rooms.room import Member, Room
from server.rooms.staff import PLATFORM_ACTS, STAFF, Deed, note
from server.store import keys, scripts
from server.store.scripts import hole

COUNT = scripts.load("reports_count")
SCRIPTS = (COUNT,)
keys.of_room("reported", "Hash by user: how often messages of this broadcast were reported.")
REPORTS = keys.of_room("reports", "Set per message, which expires: who has reported it.")
_REPORTABLE = ("chat.sent", "gifts.sent")


@handles(ReportChat)
async def report_chat(room: Room, member: Member, command: ReportChat) -> None:
    """Tell staff. Raises Refused."""
    found = await find_event(room, command.id, _REPORTABLE)
    if found is None:
        raise Refused(PinsRefusal.UNKNOWN_EVENT)
    event = msgspec.json.decode(found.json)
    chat = found.tag == "chat.sent"
    user = msgspec.convert(event["user" if chat else "from"], User)
    if user.user_id == member.user_id:
        raise Refused(Refusal.NOT_ALLOWED)
    held = _held(room, user, event)
    by_staff = not chat or user.role in STAFF
    outcome = await room.services.history.change(
        room.id,
        COUNT,
        reports=keys.room(room.id, REPORTS, command.id),
        reporter=member.user_id,
        user_id=user.user_id,
        most=limits.REPORTS_MAX,
        kept_s=limits.REPORTS_S,
        most_users=limits.REPORTED_USERS_MAX,
        threshold=0 if by_staff else room.about.settings.reports_hold,
        most_held=limits.HELD_MAX,
        told=encode(
            ChatReported(
                id=command.id,
                reports=hole("reports"),
                user_id=user.user_id,
                of_user=hole("of_user"),
                reason=command.reason,
            )
        ),
        held_message=encode(held),
        event=b"" if by_staff else _again(found, held.id),
        deleted=encode(
            ChatDeleted(id=room.services.clock.new_id(), ids=(command.id,), user_ids=(), by=PLATFORM_ACTS.named)
        ),
    )
    if outcome[0] == b"held":
        deed = Deed(act="chat.hold", user_id=user.user_id, data={"id": command.id, "reports": int(outcome[1])})
        await note(room.services, room.id, PLATFORM_ACTS, deed)


def _again(found: Recorded, event_id: str) -> bytes:
    """The chat as an event of its own, if staff lets it through."""
    return encode(msgspec.structs.replace(decode_event(found.json), id=event_id, seq=0, at_ms=0))


def _held(room: Room, user: User, event: dict[str, Any]) -> ChatHeld:
    """The message as staff gets it for a decision. It is sent again under an id of its own."""
    return ChatHeld(
        id=room.services.clock.new_id(),
        user=user,
        text=event.get("text") or event.get("message") or "",
        reason="reported",
        level=0,
        held_at_ms=room.services.clock.now_ms(),
        reported=event["id"],
    )
