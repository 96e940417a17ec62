"""Broadcasts that have ended, and what they brought."""

from typing import Literal

from msgspec import Struct

from protocol.ids import RoomId
from protocol.wire import Named


class Fan(Struct, frozen=True):
    """Who gave most in a broadcast."""

    user: Named
    coins: int


class Broadcast(Struct, frozen=True, kw_only=True):
    """A broadcast that has ended. Coins and diamonds are less what was taken back until then.

    `peak` and `unique` count its viewers, and `new_members` those of them who had never watched in this room before.
    """

    broadcast_id: str
    room_id: RoomId
    host: Named
    title: str
    status: Literal["ended", "suspended"]
    started_at_ms: int
    ended_at_ms: int
    duration_ms: int
    peak: int
    unique: int
    new_members: int
    chats: int
    likes: int
    gifts: int
    coins: int
    diamonds: int
    top_fans: tuple[Fan, ...]
