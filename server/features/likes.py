"""Likes. A node gathers them for a second, then adds them to the room's total and publishes it."""

import time

from protocol.likes import Liker, LikesCounted, LikesRefusal, SendLikes
from protocol.refusals import Refusal, Refused
from protocol.wire import Named, Ok, encode
from server import limits
from server.rooms.registry import every, handles, on_closing
from server.rooms.room import Member, Room
from server.store import keys, scripts
from server.store.scripts import hole

COUNT = scripts.load("likes_count")
keys.of_room("likers", "Sorted set: likes in this broadcast, by user.")
SCRIPTS = (COUNT,)
_ROW = encode(Liker(Named(hole("user_id"), hole("name")), hole("count")))


class _Gathered:
    """The likes of one broadcast, by user, that the store does not have yet; and how many each may still tap now."""

    __slots__ = ("broadcast", "by_user", "left")

    def __init__(self) -> None:
        self.broadcast: str | None = None
        self.by_user: dict[str, tuple[str, int]] = {}
        self.left: dict[str, tuple[float, float]] = {}  # when somebody last tapped, and what was left then

    def allowed(self, user_id: str, count: int, now_s: float) -> int:
        """How many of these taps count: a person's bound is the same on however many sockets."""
        at_s, left = self.left.pop(user_id, (now_s, limits.LIKES_PER_USER_BURST))
        left = min(limits.LIKES_PER_USER_BURST, left + (now_s - at_s) * limits.LIKES_PER_USER_PER_S)
        counted = min(count, int(left))
        while len(self.left) >= limits.LIKERS_KEPT_MAX:  # the first is who has not tapped for longest
            del self.left[next(iter(self.left))]
        self.left[user_id] = (now_s, left - counted)
        return counted

    def begin(self, broadcast: str | None) -> None:
        """Gather for this broadcast. Likes of another one no longer count."""
        if broadcast != self.broadcast:
            self.broadcast = broadcast
            self.by_user.clear()


@handles(SendLikes)
async def send_likes(room: Room, member: Member, command: SendLikes) -> Ok:
    """Gather a user's likes. The room gets them when the node next publishes."""
    if room.about.status != "live":
        raise Refused(Refusal.ROOM_NOT_LIVE)
    if not room.about.settings.likes:
        raise Refused(LikesRefusal.LIKES_OFF)
    gathered: _Gathered = room.memory("likes", _Gathered)
    gathered.begin(room.about.broadcast_id)
    counted = command.count
    if member.granted != "bot":  # which likes for many
        counted = gathered.allowed(member.user_id, counted, time.monotonic())
    if counted:
        _, before = gathered.by_user.get(member.user_id, ("", 0))
        gathered.by_user[member.user_id] = (member.name, min(before + counted, limits.LIKES_PER_USER_MAX))
    return Ok()


@every(limits.LIKES_EVERY_MS / 1000)
@on_closing
async def publish_likes(room: Room) -> None:
    """Add the gathered likes to the room's total. If that fails, keep them for the next try."""
    gathered: _Gathered = room.memory("likes", _Gathered)
    if not gathered.by_user:
        return
    batch = dict(list(gathered.by_user.items())[: limits.LIKERS_PER_TELL_MAX])
    for user_id in batch:
        del gathered.by_user[user_id]
    broadcast = gathered.broadcast
    event = LikesCounted(id=room.services.clock.new_id(), added=hole("added"), total=hole("total"), top=hole("top"))
    try:
        await room.services.history.change(
            room.id,
            COUNT,
            per_user_max=limits.LIKES_PER_USER_MAX,
            top_rows=limits.BOARD_ROWS,
            event=encode(event),
            row=_ROW,
            broadcast=broadcast or "",
            each=[{"user_id": user_id, "user_name": name, "count": count} for user_id, (name, count) in batch.items()],
        )
    except BaseException:
        if gathered.broadcast != broadcast:
            raise
        for user_id, (name, count) in batch.items():
            _, since = gathered.by_user.get(user_id, ("", 0))
            gathered.by_user[user_id] = (name, since + count)
        raise
