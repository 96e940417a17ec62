"""Held messages: what automod holds waits for staff, on every node, until somebody decides or five minutes are over."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from protocol.chat import ApproveChat, ChatDeleted, ChatSent, DenyChat, SendChat, SendChatOk
from protocol.held import ChatHeld, ChatResolved, HeldRefusal
from protocol.members import MembersRefusal
from protocol.pins import PinsRefusal
from protocol.refusals import Refusal, Refused
from protocol.wire import Command, Named, encode
from server import limits
from server.journal.people import Standing
from server.rooms.automod import AUTOMOD, Verdict
from server.rooms.registry import every, handles, on_aside, on_joined, on_standing, reacts, screens
from server.rooms.room import Member, Room
from server.rooms.staff import STAFF, Deed, actor, check, note
from server.store import keys, scripts
from server.store.client import StoreError
from server.store.scripts import hole

PUT = scripts.load("held_put")
CLOSE = scripts.load("held_close")
SWEEP = scripts.load("held_sweep")
SCRIPTS = (PUT, CLOSE, SWEEP)
HELD = keys.of_room("held", "Hash by id: what waits for staff: the message to staff and, in a second line, the event.")
DECIDED = keys.of_room("decided", "Hash by id: what became of held messages, of the last minutes.")
DENIED, APPROVED, EDITED, EXPIRED = "denied", "approved", "edited", "expired"


class Become(NamedTuple):
    """What becomes of a held message: who decided what, and the event, empty if it is not sent."""

    decision: str
    by: Named
    event: bytes


class Waiting(NamedTuple):
    """What staff was told of a held message, and its event."""

    message: ChatHeld
    event: bytes


class _Held:
    """Whether some messages of the room may be held, and whether there may be more to close at once."""

    __slots__ = ("some",)

    def __init__(self) -> None:
        self.some = True  # a node that died may have left some


# --- how a message comes to be held ------------------------------------------------------------------------------
@screens(2)
async def screen(room: Room, member: Member, command: SendChat, event: ChatSent) -> SendChatOk | None:
    """Hold a message, or refuse it, or let it go on. Raises Refused, StoreError."""
    if not room.about.in_force.automod and command.edit_of is None:
        return None
    earlier = None if command.edit_of is None else await _own(room, member, command.edit_of)
    verdict = await AUTOMOD.verdict(room, event.text)
    if verdict.action == "refuse":
        raise Refused(Refusal.BLOCKED_WORDS)
    if verdict.action == "hold":
        return await _hold(room, event, verdict, command.edit_of)
    return None if earlier is None else await _send_edited(room, member, earlier, event)


async def _own(room: Room, member: Member, held_id: str) -> ChatHeld:
    """A held message of this person, which they have not edited yet. Raises Refused."""
    found = await _find(room, held_id)
    if found is None or found.message.user.user_id != member.user_id or found.message.reported is not None:
        raise Refused(PinsRefusal.UNKNOWN_EVENT)
    if found.message.edit_of is not None:
        raise Refused(HeldRefusal.ALREADY_EDITED)
    return found.message


async def _hold(room: Room, event: ChatSent, verdict: Verdict, edit_of: str | None) -> SendChatOk | None:
    message = ChatHeld(
        id=event.id,
        user=event.user,
        text=event.text,
        reason=verdict.reason,
        level=verdict.level,
        held_at_ms=room.services.clock.now_ms(),
        edit_of=edit_of,
    )
    by = Named(event.user.user_id, event.user.name)
    outcome = await room.services.history.change(
        room.id,
        PUT,
        id=event.id,
        user_id=event.user.user_id,
        message=encode(message),
        event=encode(event),
        most=limits.HELD_MAX,
        most_of_one=limits.HELD_OF_ONE_MAX,
        edit_of=edit_of or "",
        edited=b"" if edit_of is None else encode(ChatResolved(id=edit_of, decision=EDITED, by=by)),
        kept=limits.DECIDED_S,
        most_decided=limits.DECIDED_MAX,
    )
    match outcome[0]:
        case b"held":
            return SendChatOk(id=event.id, seq=int(outcome[1]), held=True)
        case b"hidden":  # it goes on to where it is shown to themselves
            return None
        case b"muted":
            raise Refused(Refusal.MUTED, retry_after_ms=int(outcome[1]) or None)
        case b"warned":
            raise Refused(MembersRefusal.WARNED)
        case b"banned":
            raise Refused(Refusal.NOT_ALLOWED)
        case b"gone":
            raise Refused(PinsRefusal.UNKNOWN_EVENT)
        case b"full":
            raise Refused(Refusal.RATE_LIMITED, retry_after_ms=limits.HELD_RETRY_MS)
        case _:
            raise AssertionError(outcome)


async def _send_edited(room: Room, member: Member, earlier: ChatHeld, event: ChatSent) -> SendChatOk:
    """The edited text may be seen: send it in the step that closes the earlier one."""
    by = Named(member.user_id, member.name)
    outcome = await _close(room, earlier.id, member.user_id, Become(EDITED, by, encode(event)))
    if outcome[0] != b"ok":
        raise Refused(PinsRefusal.UNKNOWN_EVENT)
    return SendChatOk(id=event.id, seq=int(outcome[1]))


# --- what staff decides ------------------------------------------------------------------------------------------
async def decide(room: Room, member: Member, command: Command) -> None:
    """Approve or deny a held message; of two who decide at once, one does. Raises Refused."""
    held_id: str = command.id  # type: ignore[attr-defined]
    by, tag = actor(member), str(command.__struct_config__.tag)
    check(room, by, Deed(act=tag))
    approves = isinstance(command, ApproveChat)
    if approves and room.about.status not in ("live", "paused"):
        raise Refused(Refusal.ROOM_NOT_LIVE)
    found = await _find(room, held_id)
    whose = "" if found is None else found.message.user.user_id
    event = b"" if found is None or not approves else found.event
    become = Become(APPROVED if approves else DENIED, by.named, event)
    outcome = await _close(room, held_id, whose, become)
    if outcome[0] == b"unknown":
        raise Refused(PinsRefusal.UNKNOWN_EVENT)
    if outcome[0] == b"barred":
        raise Refused(HeldRefusal.ALREADY_DECIDED, by=None, decision=DENIED)
    if outcome[0] == b"already":
        before = msgspec.json.decode(outcome[1])
        raise Refused(HeldRefusal.ALREADY_DECIDED, by=before["by"], decision=before["decision"])
    deed = Deed(act=tag, user_id=whose, data={"id": held_id, "text": "" if found is None else found.message.text})
    await note(room.services, room.id, by, deed)


for _command in (ApproveChat, DenyChat):
    handles(_command)(decide)


async def _find(room: Room, held_id: str) -> Waiting | None:
    value = await room.services.history.store.call("HGET", keys.room(room.id, HELD), held_id)
    return None if value is None else _waiting(bytes(value))


def _waiting(value: bytes) -> Waiting:
    message, _, event = value.partition(b"\n")
    return Waiting(msgspec.json.decode(message, type=ChatHeld), event)


async def _close(room: Room, held_id: str, user_id: str, become: Become) -> list[bytes]:
    outcome: list[bytes] = await room.services.history.change(
        room.id,
        CLOSE,
        id=held_id,
        user_id=user_id,
        resolved=encode(ChatResolved(id=held_id, decision=become.decision, by=become.by)),
        denied=encode(ChatResolved(id=held_id, decision=DENIED, by=None)),
        event=become.event,
        kept=limits.DECIDED_S,
        most_decided=limits.DECIDED_MAX,
    )
    return outcome


# --- what ends without staff -------------------------------------------------------------------------------------
@every(1.0)
async def end_held(room: Room) -> None:
    """Close what nobody decided about in time. Every node of the room does this."""
    held: _Held = room.memory("held", _Held)
    if held.some:
        await _sweep(room)


async def _sweep(room: Room, *, ids: Iterable[str] = (), user_ids: Iterable[str] = ()) -> None:
    held: _Held = room.memory("held", _Held)
    held.some = False
    try:
        _, left = await room.services.history.change(
            room.id,
            SWEEP,
            life_ms=limits.HELD_MS,
            ids=msgspec.json.encode(dict.fromkeys(ids, True)),
            user_ids=msgspec.json.encode(dict.fromkeys(user_ids, True)),
            expired=encode(ChatResolved(id=hole("id"), decision=EXPIRED, by=None)),
            denied=encode(ChatResolved(id=hole("id"), decision=DENIED, by=None)),
            most=limits.HELD_MAX,
            kept=limits.DECIDED_S,
            most_decided=limits.DECIDED_MAX,
        )
    except BaseException:
        held.some = True
        raise
    held.some = held.some or int(left) > 0


@reacts(ChatDeleted)
def deleted_is_not_held(room: Room, event: ChatDeleted) -> None:
    if event.user_ids or event.ids:
        room.spawn(_deny(room, event.ids, event.user_ids))


@on_standing
def decided_about_sender(room: Room, user_id: str, before: Standing) -> None:
    """Nothing of somebody who may not chat any longer waits; a new moderator gets what waits."""
    now = room.people.of(user_id)
    now_ms = room.services.clock.now_ms()
    muted = room.people.muted_until_ms(user_id, room.about.broadcast_id, now_ms) is not None
    if muted or now.hidden or now.banned_until_ms > now_ms:
        room.spawn(_deny(room, (), (user_id,)))
    if now.moderator and not before.moderator:
        for member in room.members:
            if member.user_id == user_id:
                tell_held(room, member)


async def _deny(room: Room, ids: tuple[str, ...], user_ids: tuple[str, ...]) -> None:
    try:
        await _sweep(room, ids=ids, user_ids=user_ids)
    except StoreError:  # staff sees it for a while longer; it cannot approve what its sender may not say
        return


# --- who gets it ---------------------------------------------------------------------------------------------
@on_joined
def tell_held(room: Room, member: Member) -> None:
    """Tell somebody of staff what waits."""
    if member.role in STAFF:
        room.spawn(_tell_all(room, member))


async def _tell_all(room: Room, member: Member) -> None:
    try:
        found = await room.services.history.store.call("HVALS", keys.room(room.id, HELD))
    except StoreError:  # the socket is closed soon: the room starts again
        return
    messages = [bytes(value).partition(b"\n")[0] for value in found]
    for message in sorted(messages, key=_held_at):
        member.pass_on(message)


def _held_at(message: bytes) -> int:
    return msgspec.json.decode(message, type=ChatHeld).held_at_ms


@on_aside("held")
def tell_staff(room: Room, body: bytes) -> None:
    """A message is held."""
    room.memory("held", _Held).some = True
    for member in room.members:
        if member.role in STAFF:
            member.pass_on(body)


@on_aside("resolved")
def tell_resolved(room: Room, body: bytes) -> None:
    """Tell staff and the sender what became of a held message."""
    user_id, _, message = body.partition(b" ")
    for member in room.members:
        if member.role in STAFF or member.user_id == user_id.decode():
            member.pass_on(message)
