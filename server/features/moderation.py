"""Moderation: everything that staff does is one stream, live to staff and in SQL forever."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.wire import Named
from server import limits
from server.http.api import answer, next_page, query, room_id_of, route
from server.journal import people as journal
from server.journal.database import ask
from server.rooms.people import read_people, version_of
from server.rooms.registry import every, on_aside
from server.rooms.room import Room, Services
from server.rooms.staff import STAFF


@on_aside("staff")
def tell_staff(room: Room, body: bytes) -> None:
    """Pass a message to everybody of staff here."""
    for member in room.members:
        if member.role in STAFF:
            member.pass_on(body)


@on_aside("person")
def learn_person(room: Room, body: bytes) -> None:
    """Take a new decision about somebody."""
    user_id, _, value = body.partition(b" ")
    room.know_person(user_id.decode(), version_of(value))


@every(limits.PEOPLE_AGAIN_S)
async def read_again(room: Room) -> None:
    """Read what is decided: an aside may have got lost, and SQL may be back."""
    services = room.services
    people = await read_people(services.history, services.engine, room.id, room.epoch)
    for user_id, version in people.versions():
        room.know_person(user_id, version)
    room.people.whole = people.whole


class ModerationQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page. `before` is the `at_ms:id` of the last act of the page before."""

    before: Annotated[str, Meta(pattern=r"^[0-9]{1,15}:[0-9a-f-]{1,64}$(?!\n)")] | None = None
    limit: Annotated[int, Meta(ge=1, le=limits.PAGE_MAX)] = limits.PAGE


class ActShown(Struct, frozen=True, kw_only=True):
    """One act of staff."""

    id: str
    at_ms: int
    act: str
    by: Named
    user_id: str | None
    reason: str
    data: dict[str, Any]


class ModerationPage(Struct, frozen=True):
    """Acts, the newest first. `next` is the query of the next page."""

    acts: tuple[ActShown, ...]
    next: str | None


def routes(services: Services) -> list[Route]:
    """The stream, page by page."""

    async def acts(request: Request) -> Response:
        room_id, asked = room_id_of(request), query(request, ModerationQuery)
        await services.history.position(room_id)
        found = await ask(journal.acts, services.engine, room_id, _place(asked.before), asked.limit)
        last = f"{found[-1].at_ms}:{found[-1].id}" if len(found) == asked.limit else None
        shown = tuple(msgspec.convert(act, ActShown, from_attributes=True) for act in found)
        return answer(ModerationPage(shown, next_page(asked, last, "before")))

    path = "/v1/rooms/{room}/moderation"
    return [route(path, acts, summary="What staff did, the newest first", query=ModerationQuery, gives=ModerationPage)]


def _place(before: str | None) -> tuple[int, str] | None:
    if before is None:
        return None
    at_ms, _, act_id = before.partition(":")
    return int(at_ms), act_id
