"""The room itself: its host starts, pauses and ends it, staff changes it, and its end closes the sockets."""

import contextlib
from typing import Any

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from protocol.closes import Close
from protocol.refusals import Refusal, Refused
from protocol.rooms import (
    EndRoom,
    PauseRoom,
    ResumeRoom,
    RoomDeleted,
    RoomEnded,
    RoomReminded,
    RoomsRefusal,
    RoomSuspended,
    SetRoom,
    StartRoom,
)
from protocol.wire import Command, encode
from server import limits
from server.journal.due import Work
from server.rooms.admin import REMIND, BadDefinition, Busy, PatchRoom, RoomsAdmin, WrongStatus, as_shown
from server.rooms.due import does
from server.rooms.eligibility import NotEligible
from server.rooms.farewell import close_members
from server.rooms.history import NoSuchRoom
from server.rooms.registry import handles, reacts
from server.rooms.room import Member, Room, Services
from server.rooms.staff import HOST, MODERATOR, Deed, actor, check, note
from server.store import scripts

REMIND_LATE_MS = 30_000  # after an outage: a reminder that comes later than that misleads
REMINDED = scripts.load("rooms_remind")
SCRIPTS = (REMINDED,)


@does(REMIND)
async def remind(services: Services, work: Work) -> None:
    """Tell a room when its next broadcast is to begin."""
    starts_ms, _, due_ms = work.ref.partition(":")
    in_ms = int(starts_ms) - int(due_ms)
    if services.clock.now_ms() > int(due_ms) + REMIND_LATE_MS:
        return
    event = RoomReminded(id=services.clock.new_id(), starts_at_ms=int(starts_ms), in_ms=in_ms)
    with contextlib.suppress(NoSuchRoom):
        await services.history.change(
            work.room_id, REMINDED, starts_at_ms=starts_ms, due_at_ms=due_ms, event=encode(event)
        )


@handles(SetRoom)
async def set_room(room: Room, member: Member, command: SetRoom) -> None:
    """Change only what is named. Raises Refused."""
    deed = Deed(act="room.set", data=_said(command), least=MODERATOR)
    check(room, actor(member), deed)
    try:
        changes = as_shown(PatchRoom(title=command.title, settings=command.settings))
        await _admin(room).patch(room.id, changes)
    except BadDefinition as bad:
        raise Refused(Refusal.BAD_COMMAND, why=str(bad)) from None
    except Busy:
        raise Refused(Refusal.UNAVAILABLE, retry_after_ms=limits.SPEND_RETRY_MS) from None
    await note(room.services, room.id, actor(member), deed)


async def turn_room(room: Room, member: Member, command: Command) -> None:
    """Start, pause, resume or end. Raises Refused."""
    tag = str(command.__struct_config__.tag)
    deed = Deed(act=tag, least=HOST)
    check(room, actor(member), deed)
    try:
        await _admin(room).turn(room.id, tag.partition(".")[2])
    except WrongStatus as wrong:
        raise Refused(RoomsRefusal.WRONG_STATUS, status=wrong.status) from None
    except NotEligible as not_eligible:
        raise Refused(RoomsRefusal.NOT_ELIGIBLE, missing=msgspec.to_builtins(not_eligible.missing)) from None
    except SQLAlchemyError:  # nobody begins of whom nothing is known
        raise Refused(Refusal.UNAVAILABLE, retry_after_ms=limits.SPEND_RETRY_MS) from None
    await note(room.services, room.id, actor(member), deed)


for _command in (StartRoom, PauseRoom, ResumeRoom, EndRoom):
    handles(_command)(turn_room)


def _admin(room: Room) -> RoomsAdmin:
    services = room.services
    return RoomsAdmin(services.history, services.clock, services.eligibility, services.engine)


def _said(command: Command) -> dict[str, Any]:
    """What the command said, without its type and ref."""
    said: dict[str, Any] = msgspec.to_builtins(command)
    return {name: value for name, value in said.items() if name not in ("type", "ref")}


@reacts(RoomEnded)
def room_ended(room: Room, event: RoomEnded) -> None:
    room.spawn(_close_members(room, event.seq))


@reacts(RoomSuspended)
def room_suspended(room: Room, event: RoomSuspended) -> None:
    room.spawn(_close_members(room, event.seq))


@reacts(RoomDeleted)
def room_deleted(room: Room, event: RoomDeleted) -> None:
    room.dissolve(event.seq)


async def _close_members(room: Room, seq: int) -> None:
    """Close the members' sockets after they got the event. Overlays stay for the next broadcast."""
    await room.outbox.wait_flushed(seq)
    await close_members([member for member in room.members if member.role != "overlay"], Close.ROOM_ENDED)
