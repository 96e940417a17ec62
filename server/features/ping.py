"""Ping: the server's clock, so that clients can make gift ids with the right time."""

from protocol.ping import Ping, PingOk
from server.rooms.registry import handles
from server.rooms.room import Member, Room


@handles(Ping)
async def ping(room: Room, _member: Member, _command: Ping) -> PingOk:
    return PingOk(server_time_ms=room.services.clock.now_ms())
