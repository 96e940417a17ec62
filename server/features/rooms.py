"""The end of a broadcast: whoever watches is let go with the code that says so."""

from protocol.closes import Close
from protocol.rooms import RoomEnded, RoomSuspended
from server.rooms.registry import reacts
from server.rooms.room import Room


@reacts(RoomEnded)
def room_ended(room: Room, event: RoomEnded) -> None:
    room.spawn(_let_go(room, event.seq))


@reacts(RoomSuspended)
def room_suspended(room: Room, event: RoomSuspended) -> None:
    room.spawn(_let_go(room, event.seq))


async def _let_go(room: Room, seq: int) -> None:
    """After the event has been written; overlays stay for the next broadcast."""
    await room.outbox.wait_flushed(seq)
    for member in tuple(room.members):
        if member.role != "overlay":
            member.sink.close(Close.ROOM_ENDED)
