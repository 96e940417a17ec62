"""Likes: gathered on the node for a second, then added to the room's total and told."""

from protocol.likes import SendLikes
from protocol.refusals import Refusal, Refused
from protocol.wire import Ok
from server import limits
from server.history import event_keys
from server.registry import every, handles, on_closing
from server.room import Member, Room
from server.store import keys, scripts

COUNT = scripts.load("likes_count")
SCRIPTS = (COUNT,)


class _Gathered:
    """Likes of a broadcast by user since the last telling."""

    __slots__ = ("broadcast", "by_user")

    def __init__(self) -> None:
        self.broadcast: str | None = None
        self.by_user: dict[str, tuple[str, int]] = {}

    def of(self, broadcast: str | None) -> None:
        """What was gathered in another one counts no more."""
        if broadcast != self.broadcast:
            self.broadcast = broadcast
            self.by_user.clear()


@handles(SendLikes)
async def send_likes(room: Room, member: Member, command: SendLikes) -> Ok:
    """Taps of one user; they reach the room with the next telling."""
    if room.about.status != "live":
        raise Refused(Refusal.ROOM_NOT_LIVE)
    gathered: _Gathered = room.memory("likes", _Gathered)
    gathered.of(room.about.broadcast_id)
    _, before = gathered.by_user.get(member.user_id, ("", 0))
    gathered.by_user[member.user_id] = (member.name, min(before + command.count, limits.LIKES_PER_USER_MAX))
    return Ok()


@every(limits.LIKES_EVERY_MS / 1000)
@on_closing
async def tell_likes(room: Room) -> None:
    """What was gathered goes to the store; when that fails it is gathered again."""
    gathered: _Gathered = room.memory("likes", _Gathered)
    if not gathered.by_user:
        return
    batch = dict(list(gathered.by_user.items())[: limits.LIKERS_PER_TELL_MAX])
    for user_id in batch:
        del gathered.by_user[user_id]
    broadcast = gathered.broadcast
    args: list[str | bytes | int] = [
        limits.HISTORY_EVENTS_MAX,
        limits.LIKES_PER_USER_MAX,
        limits.BOARD_ROWS,
        room.services.clock.new_id(),
        broadcast or "",
    ]
    for user_id, (name, count) in batch.items():
        args += (user_id, name, count)
    names = [*event_keys(room.id), keys.room_likers(room.id), keys.room_names(room.id)]
    try:
        await room.services.history.run(COUNT, names, args)
    except BaseException:
        if gathered.broadcast != broadcast:
            raise
        for user_id, (name, count) in batch.items():
            _, since = gathered.by_user.get(user_id, ("", 0))
            gathered.by_user[user_id] = (name, since + count)
        raise
