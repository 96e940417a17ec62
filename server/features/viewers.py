"""Viewers: each person counts once, on however many sockets and nodes. A dead node's viewers stop counting."""

import contextlib
from collections import Counter
from collections.abc import Sequence

from protocol.viewers import ViewersCounted
from protocol.wire import Named, encode
from server import limits
from server.journal.due import Work
from server.journal.people import Standing
from server.rooms.about import About
from server.rooms.due import does
from server.rooms.history import NoSuchRoom
from server.rooms.registry import every, on_changed, on_closing, on_joined, on_left, on_standing
from server.rooms.room import Member, Room, Services
from server.store import keys, scripts
from server.store.scripts import hole

COUNT = scripts.load("viewers_count")
keys.of_room("present", "Hash: on how many nodes each user watches.")
keys.of_room("nodes", "Sorted set: nodes with viewers of this room, by the time in ms of their latest beat.")
NODE = keys.of_room("node", "Set per node: users of this room on it.")
keys.of_room("seen", "Set: different users of this broadcast.")
SCRIPTS = (COUNT,)
SWEEP_EVERY_MS = 5_000  # rooms that count viewers, of all nodes


class _Presence:
    """This node's viewers of a room, and who came and went since the store was last updated."""

    __slots__ = ("beat_at_ms", "changed", "counted", "joined", "later", "sockets", "unsure")

    def __init__(self) -> None:
        self.sockets: Counter[str] = Counter()
        self.counted: set[str] = set()  # whom the store counts for this node
        self.unsure: set[str] = set()  # whom it may count besides: it was told, and did not answer
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


@on_changed
def host_changed(room: Room, before: About) -> None:
    """Count the former host as a viewer, and the new host no longer, with all sockets that they have here."""
    if room.about.host.user_id != before.host.user_id:
        for user_id in (before.host.user_id, room.about.host.user_id):
            _count_again(room, user_id)


@on_standing
def moderator_changed(room: Room, user_id: str, before: Standing) -> None:
    """Count a new moderator no longer, and a former one as a viewer."""
    if room.people.of(user_id).moderator != before.moderator:
        _count_again(room, user_id)


def _count_again(room: Room, user_id: str) -> None:
    presence: _Presence = room.memory("viewers", _Presence)
    sockets = sum(member.user_id == user_id and member.role == "viewer" for member in room.members)
    presence.sockets[user_id] = sockets
    if not sockets:
        del presence.sockets[user_id]
    presence.changed.add(user_id)


@every(limits.HOUSEKEEPING_S)
async def publish_viewers(room: Room) -> None:
    """Update the store when viewers changed, when a beat is due, or when the count could not be published last time."""
    presence: _Presence = room.memory("viewers", _Presence)
    now_ms = room.services.clock.now_ms()
    beat_due = abs(now_ms - presence.beat_at_ms) >= limits.PRESENCE_BEAT_S * 1000
    if presence.changed or presence.later or beat_due:
        await _count(room, presence, here=bool(presence.sockets) or bool(presence.counted))
        presence.beat_at_ms = now_ms  # only now: if the call failed, the beat is still due


@on_closing
async def leave_presence(room: Room) -> None:
    """Remove all viewers of this node from the count, because the node closes the room."""
    presence: _Presence = room.memory("viewers", _Presence)
    presence.sockets.clear()
    while presence.changed or presence.counted or presence.unsure:
        presence.changed |= presence.counted | presence.unsure
        await _count(room, presence, here=False)


def _seen(room: Room, presence: _Presence) -> list[tuple[str, str]]:
    """Who has come and is here still, as far as the room is to see it: not who is hidden."""
    if not room.about.settings.joins:
        return []
    joined = presence.joined.items()
    return [each for each in joined if each[0] in presence.sockets and not room.people.of(each[0]).hidden]


def _event(services: Services, sample: Sequence[Named] = ()) -> bytes:
    now, peak, unique = hole("now"), hole("peak"), hole("unique")
    return encode(ViewersCounted(id=services.clock.new_id(), now=now, peak=peak, unique=unique, joined=tuple(sample)))


async def _count(room: Room, presence: _Presence, *, here: bool) -> None:
    batch = list(presence.changed)[: limits.PRESENCE_BATCH]
    came = [user_id for user_id in batch if user_id in presence.sockets and user_id not in presence.counted]
    there = presence.counted | presence.unsure
    went = [user_id for user_id in batch if user_id not in presence.sockets and user_id in there]
    sample = [Named(user_id, name) for user_id, name in _seen(room, presence)[-limits.JOINED_SAMPLE :]]
    node_id = room.services.node_id
    presence.changed.difference_update(batch)  # a change during the call adds the user again
    try:
        outcome = await room.services.history.change(
            room.id,
            COUNT,
            mine=keys.room(room.id, NODE, node_id),
            node_id=node_id,
            node_prefix=keys.room(room.id, NODE, ""),
            gone_ms=int(limits.PRESENCE_GONE_S * 1000),
            every_ms=limits.VIEWERS_EVERY_MS if here else 0,  # nobody may be there to publish it later
            event=_event(room.services, sample),
            count_in=1 if here else 0,
            each=[
                *({"change": "+", "user_id": user_id} for user_id in came),
                *({"change": "-", "user_id": user_id} for user_id in went),
            ],
        )
    except BaseException:
        presence.changed.update(batch)
        presence.unsure.update(came)
        raise
    presence.unsure.difference_update(batch)
    forgotten = here and outcome[2] == b"new" and bool(presence.counted)
    presence.counted.update(came)
    presence.counted.difference_update(went)
    if outcome[1] == b"published":
        presence.joined.clear()
    presence.later = outcome[1] == b"later"
    if forgotten:  # the node was taken for dead, or the store lost its set: count everybody again
        presence.changed.update(presence.counted)
        presence.counted = set(came)


@does("viewers.sweep", always=True)
async def sweep(services: Services, work: Work) -> Work | None:
    """Forget the viewers of nodes that died, in rooms where no other node looks: nobody else is there."""
    ids = await services.history.room_ids()
    for first in range(0, len(ids), limits.LISTING_CHUNK):
        chunk = ids[first : first + limits.LISTING_CHUNK]
        for room_id, meta in zip(chunk, await services.history.metas(chunk, ("now",)), strict=True):
            if meta.get("now", "0") != "0":
                await _forget_the_dead(services, room_id)
    return work._replace(due_at_ms=services.clock.now_ms() + SWEEP_EVERY_MS)


async def _forget_the_dead(services: Services, room_id: str) -> None:
    with contextlib.suppress(NoSuchRoom):  # deleted just now
        await services.history.change(
            room_id,
            COUNT,
            mine=keys.room(room_id, NODE, ""),
            node_id="",  # no node's: the room only forgets
            node_prefix=keys.room(room_id, NODE, ""),
            gone_ms=int(limits.PRESENCE_GONE_S * 1000),
            every_ms=0,
            event=_event(services),
            count_in=0,
        )
