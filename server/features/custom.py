"""Custom events: the host platform publishes what it likes in a room, in order with everything else."""

from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import protocol
from protocol.custom import CustomRefusal, CustomSent, EventName
from protocol.ids import PersonId
from protocol.refusals import Refused
from server.http.api import HttpError, answer, body, room_id_of, route
from server.rooms.people import read_people
from server.rooms.room import Services

PUBLISHED_BYTES_MAX = 8 * 1024  # of `data` as JSON: everybody in the room gets it
DATA_DEPTH_MAX = 32  # deeper values are hard to read for clients


class Publish(Struct, frozen=True, forbid_unknown_fields=True):
    """An event of the platform's own. `user_id` is whose doing it is: a banned person's is refused."""

    name: EventName
    data: dict[str, Any] = {}  # msgspec copies it
    kept: bool = True
    user_id: PersonId | None = None


class Published(Struct, frozen=True):
    """The event's id, and its place in the room's order."""

    id: str
    seq: int


def routes(services: Services) -> list[Route]:
    """Publishing in a room, whatever its status is."""

    async def publish(request: Request) -> Response:
        room_id, asked = room_id_of(request), await body(request, Publish)
        event = CustomSent(
            id=services.clock.new_id(), kept=asked.kept, name=asked.name, user_id=asked.user_id, data=asked.data
        )
        _check(event)
        if asked.user_id is not None:
            await _refuse_banned(services, room_id, asked.user_id)
        return answer(Published(event.id, await services.history.append(room_id, event)))

    about = "Publish an event of the platform's own"
    path = "/v1/rooms/{room}/publish"
    return [route(path, publish, method="POST", summary=about, body=Publish, gives=Published)]


def _check(event: CustomSent) -> None:
    """Raise HttpError for what the room's sockets could not carry."""
    if _depth(event.data) > DATA_DEPTH_MAX:
        raise HttpError(400, "bad_request", f"`data` may be {DATA_DEPTH_MAX} levels deep.")
    if len(msgspec.json.encode(event.data)) > PUBLISHED_BYTES_MAX:
        raise HttpError(413, "too_large", f"`data` may have {PUBLISHED_BYTES_MAX} bytes.")
    try:
        protocol.to_msgpack(msgspec.json.encode(event))
    except (OverflowError, msgspec.DecodeError):  # msgpack's integers have 64 bits
        raise HttpError(400, "bad_request", "`data` has a number that is too large.") from None


def _depth(value: Any) -> int:
    """How many levels a value has. `body` has refused one that is too deep for Python."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


async def _refuse_banned(services: Services, room_id: str, user_id: str) -> None:
    """Raise Refused if the person is banned from the room now."""
    epoch, _ = await services.history.position(room_id)
    people = await read_people(services.history, services.engine, room_id, epoch)
    if people.banned_until_ms(user_id, services.clock.now_ms()) is not None:
        raise Refused(CustomRefusal.BANNED)
