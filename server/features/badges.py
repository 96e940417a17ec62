"""Badges of the room: its host, its moderators, who gave most in this broadcast, and for how long one is in the club.

Each is known on the node without asking anybody. `features.levels` has the one of gifters' levels.
"""

from protocol import badges
from protocol.boards import BoardChanged
from protocol.rooms import RoomUpdated
from server import limits
from server.rooms.history import NoSuchRoom
from server.rooms.registry import badge, on_joined, reacts
from server.rooms.room import Member, Room
from server.store.client import StoreError

MONTH_MS = 30 * 86_400_000  # of a membership in the club
CLUB_MONTHS_MAX = 999  # a badge is short


class _Top:
    """Who stands on the first places of the broadcast's board, as far as this node was told."""

    __slots__ = ("known", "ranks")

    def __init__(self) -> None:
        self.known = False  # a node that opens the room has heard of no board
        self.ranks: dict[str, int] = {}


@badge(1)
def role(_room: Room, member: Member) -> str | None:
    """Staff of the room."""
    return {"host": badges.HOST, "moderator": badges.MODERATOR}.get(member.role)


@badge(2)
def top(room: Room, member: Member) -> str | None:
    """Who gave most in this broadcast."""
    first: _Top = room.memory("badges", _Top)
    rank = first.ranks.get(member.user_id)
    return None if rank is None else badges.top(rank)


@badge(4)
def club(room: Room, member: Member) -> str | None:
    """A member of the host's club, by the token."""
    since_ms = member.facts.club_since_ms
    if since_ms is None:
        return None
    months = 1 + max(0, room.services.clock.now_ms() - since_ms) // MONTH_MS
    return badges.club(min(months, CLUB_MONTHS_MAX))


@reacts(BoardChanged)
def board_changed(room: Room, event: BoardChanged) -> None:
    first: _Top = room.memory("badges", _Top)
    first.known = True
    first.ranks = {row.user.user_id: row.rank for row in event.top if row.rank <= limits.BOARD_FIRST}


@reacts(RoomUpdated)
def broadcast_begins(room: Room, event: RoomUpdated) -> None:
    if isinstance(event.broadcast_id, str):
        first: _Top = room.memory("badges", _Top)
        first.known, first.ranks = True, {}


@on_joined
def look_at_the_board(room: Room, _member: Member) -> None:
    """Learn who is first, once: later the room's events say it."""
    first: _Top = room.memory("badges", _Top)
    if not first.known:
        first.known = True
        room.spawn(_look(room, first))


async def _look(room: Room, first: _Top) -> None:
    before = first.ranks
    try:
        board = (await room.services.history.snapshot(room.id)).board
    except (StoreError, NoSuchRoom):
        first.known = False
        return
    if first.ranks is before:  # else an event was quicker
        first.ranks = {user_id: rank for rank, (user_id, _, _) in enumerate(board[: limits.BOARD_FIRST], 1)}
