"""Presence: people by role, counted once over all their sockets and nodes; a dead node leaves no ghosts."""

from collections import Counter

import msgspec

from protocol.wire import Named
from server import limits
from server.rooms.history import event_keys
from server.rooms.registry import every, on_closing, on_joined, on_left
from server.rooms.room import Member, Room
from server.store import keys, scripts

COUNT = scripts.load("viewers_count")
SCRIPTS = (COUNT,)


class _Presence:
    """This node's viewers of a room, and who came and went since the store was told."""

    __slots__ = ("beat_at_ms", "changed", "counted", "joined", "later", "sockets")

    def __init__(self) -> None:
        self.sockets: Counter[str] = Counter()
        self.counted: set[str] = set()  # whom the store counts for this node
        self.changed: set[str] = set()
        self.joined: dict[str, str] = {}
        self.beat_at_ms = 0
        self.later = False


@on_joined
def viewer_joined(room: Room, member: Member) -> None:
    if member.role == "viewer":
        presence: _Presence = room.memory("viewers", _Presence)
        presence.sockets[member.user_id] += 1
        presence.changed.add(member.user_id)
        if presence.sockets[member.user_id] == 1:
            presence.joined[member.user_id] = member.name
            while len(presence.joined) > limits.JOINED_KEPT:
                del presence.joined[next(iter(presence.joined))]


@on_left
def viewer_left(room: Room, member: Member) -> None:
    if member.role == "viewer":
        presence: _Presence = room.memory("viewers", _Presence)
        presence.sockets[member.user_id] -= 1
        if presence.sockets[member.user_id] <= 0:
            del presence.sockets[member.user_id]
        presence.changed.add(member.user_id)


@every(limits.HOUSEKEEPING_S)
async def tell_viewers(room: Room) -> None:
    """Changes at once, a beat in between, and the count that could not be told last time."""
    presence: _Presence = room.memory("viewers", _Presence)
    now_ms = room.services.clock.now_ms()
    beat_due = abs(now_ms - presence.beat_at_ms) >= limits.PRESENCE_BEAT_S * 1000
    if presence.changed or presence.later or beat_due:
        presence.beat_at_ms = now_ms
        await _count(room, presence, here=bool(presence.sockets) or bool(presence.counted))


@on_closing
async def leave_presence(room: Room) -> None:
    """The node lets go of the room: whoever it counted is gone from it."""
    presence: _Presence = room.memory("viewers", _Presence)
    presence.sockets.clear()
    while presence.changed or presence.counted:
        presence.changed |= presence.counted
        await _count(room, presence, here=False)


async def _count(room: Room, presence: _Presence, *, here: bool) -> None:
    batch = list(presence.changed)[: limits.PRESENCE_BATCH]
    came = [user_id for user_id in batch if user_id in presence.sockets and user_id not in presence.counted]
    went = [user_id for user_id in batch if user_id not in presence.sockets and user_id in presence.counted]
    here_still = [(user_id, name) for user_id, name in presence.joined.items() if user_id in presence.sockets]
    sample = [Named(user_id, name) for user_id, name in here_still[-limits.JOINED_SAMPLE :]]
    node_id = room.services.node_id
    args: list[str | bytes | int] = [
        limits.HISTORY_EVENTS_MAX,
        node_id,
        keys.room_node_users(room.id, ""),
        int(limits.PRESENCE_GONE_S * 1000),
        limits.VIEWERS_EVERY_MS,
        room.services.clock.new_id(),
        msgspec.json.encode(sample),
        1 if here else 0,
    ]
    for user_id in came:
        args += ("+", user_id)
    for user_id in went:
        args += ("-", user_id)
    names = [
        *event_keys(room.id),
        keys.room_present(room.id),
        keys.room_nodes(room.id),
        keys.room_node_users(room.id, node_id),
        keys.room_seen(room.id),
    ]
    presence.changed.difference_update(batch)  # who moves during the call is in it again
    try:
        outcome = await room.services.history.run(COUNT, names, args)
    except BaseException:
        presence.changed.update(batch)
        raise
    forgotten = here and outcome[2] == b"new" and bool(presence.counted)
    presence.counted.update(came)
    presence.counted.difference_update(went)
    if outcome[1] == b"told":
        presence.joined.clear()
    presence.later = outcome[1] == b"later"
    if forgotten:  # others took this node for dead, or the store lost its set: say everybody again
        presence.changed.update(presence.counted)
        presence.counted = set(came)
