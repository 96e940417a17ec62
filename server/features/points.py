"""Fan points: for minutes in which somebody watches or chats while the show runs, and for gifts. A day has its caps.

Each node tells SQL of its own people, once a minute. SQL counts a minute once, so nodes need not agree on anything.
"""

from collections import Counter, deque

import structlog
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.chat import ChatSent
from protocol.ids import PersonId
from protocol.points import PointsShown, Today
from server import limits
from server.http.api import answer, query, user_id_of
from server.http.own import VIEWERS, Own
from server.journal import points
from server.journal.database import ask
from server.journal.points import Caps, Minute
from server.rooms.registry import every, on_joined, on_left, reacts
from server.rooms.room import Member, Room, Services

MINUTE_MS = 60_000  # what counts at a time: a shorter one would only write more often
CAPS = Caps(minute_ms=MINUTE_MS, watch=60, chat=20, gifts=500)  # of a day: an evening, and not what a bot does all day
COUNT_EVERY_S = 60.0
DORMANT_AFTER_MS = 7 * limits.DAY_MS
MINUTES_KEPT = 10  # of a room, while SQL is away: then the oldest are lost
NEVER = ("bot", "overlay")  # all others may become hosts, and no longer be: the host is left out where it counts

log = structlog.get_logger()


class _Fans:
    """Who is here, who has chatted since the last minute was told, and the minutes that SQL has not got yet."""

    __slots__ = ("chatted", "here", "telling", "untold")

    def __init__(self) -> None:
        self.here: Counter[str] = Counter()
        self.chatted: set[str] = set()
        self.untold: deque[tuple[str, int, list[Minute]]] = deque(maxlen=MINUTES_KEPT)
        self.telling = False


def _fans(room: Room) -> _Fans:
    fans: _Fans = room.memory("points", _Fans)
    return fans


@on_joined
def fan_joined(room: Room, member: Member) -> None:
    if member.role not in NEVER:
        _fans(room).here[member.user_id] += 1


@on_left
def fan_left(room: Room, member: Member) -> None:
    if member.role not in NEVER:
        here = _fans(room).here
        here[member.user_id] -= 1
        if here[member.user_id] <= 0:
            del here[member.user_id]


@reacts(ChatSent)
def fan_chatted(room: Room, event: ChatSent) -> None:
    fans = _fans(room)
    if event.user.user_id in fans.here:
        fans.chatted.add(event.user.user_id)


@every(COUNT_EVERY_S)
async def count_minute(room: Room) -> None:
    """Note who was here in this minute of a running show, and tell SQL. What takes long holds up nothing else."""
    fans, host_id = _fans(room), room.about.host.user_id
    chatted, fans.chatted = fans.chatted, set()
    there = [Minute(user_id, user_id in chatted) for user_id in fans.here if user_id != host_id]
    if there and room.about.status == "live":
        fans.untold.append((host_id, room.services.clock.now_ms() // MINUTE_MS, there))
    if fans.untold and not fans.telling:
        fans.telling = True
        room.spawn(_tell(room, fans))


async def _tell(room: Room, fans: _Fans) -> None:
    try:
        while fans.untold:
            oldest = fans.untold[0]
            await ask(points.count, room.services.engine, CAPS, *oldest)
            if fans.untold[0] is oldest:  # else a newer minute has pushed it out meanwhile
                fans.untold.popleft()
    except SQLAlchemyError as error:  # the next minute tells of them, too
        log.info("points_later", room=room.id, why=str(error)[: limits.LOGGED_CHARS_MAX])
    finally:
        fans.telling = False


# --- HTTP ------------------------------------------------------------------------------------------------------------
class PointsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """With whom."""

    host: PersonId


def routes(services: Services) -> list[Route]:
    """Somebody's points, for the platform and for themselves."""

    async def shown(request: Request) -> Response:
        user_id, host_id, now_ms = user_id_of(request), query(request, PointsQuery).host, services.clock.now_ms()
        found = await ask(points.read, services.engine, CAPS, host_id, user_id, now_ms)
        return answer(
            PointsShown(
                user_id=user_id,
                host_id=host_id,
                points=found.total,
                watch=found.watch,
                chat=found.chat,
                gifts=found.gifts,
                today=Today(found.day_watch, found.day_chat, found.day_gifts),
                last_at_ms=found.last_ms,
                dormant=found.last_ms is None or now_ms - found.last_ms > DORMANT_AFTER_MS,
            )
        )

    own = Own(services.tokens, services.revocations, services.clock)
    path, about = "/v1/users/{user}/points", "Somebody's points with a host"
    return [own.route(path, shown, VIEWERS, summary=about, query=PointsQuery, gives=PointsShown)]
