"""The end of a broadcast, or of a room: closes the sockets of everybody who watches."""

from protocol.closes import Close
from protocol.rooms import RoomDeleted, RoomEnded, RoomSuspended
from server.rooms.farewell import close_members
from server.rooms.registry import reacts
from server.rooms.room import Room


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
