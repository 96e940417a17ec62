"""Rooms over HTTP: create, change, delete, list and read them, and start, pause or end their broadcasts."""

from typing import Annotated

from msgspec import Meta, Struct
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.ids import RoomId
from protocol.rooms import Category, Hashtag, Language, Status
from server import limits
from server.http.api import HttpError, answer, bearer, body, has_key, next_page, query, room_id_of, route
from server.rooms.about import About, about_of, granted, role_in
from server.rooms.admin import (
    TURNS,
    BadDefinition,
    Busy,
    Definition,
    PatchRoom,
    PutRoom,
    RoomsAdmin,
    WrongStatus,
    as_shown,
    hashtag_of,
)
from server.rooms.eligibility import NotEligible
from server.rooms.listing import Listing, Order, Place, RoomShown, RoomWhole, Wanted, whole
from server.rooms.room import Services
from server.tokens import BadToken

STEPS = " or ".join(", ".join(TURNS).rsplit(", ", 1))


class RoomsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which rooms a list has, and in which order: by id, with most viewers first, or with the latest start first."""

    status: Status | None = None
    category: Category | None = None
    hashtag: Hashtag | None = None
    language: Language | None = None
    sort: Order = "room"
    limit: Annotated[int, Meta(ge=1, le=limits.PAGE_MAX)] = limits.PAGE
    after: Annotated[str, Meta(pattern=r"^([0-9]{1,15}:)?[A-Za-z0-9_.-]{1,64}$(?!\n)")] | None = None


class RoomsPage(Struct, frozen=True):
    """Some rooms, and the query of the next ones."""

    rooms: list[RoomShown]
    next: str | None


class _Rooms:
    def __init__(self, admin: RoomsAdmin, services: Services) -> None:
        self._admin = admin
        self._history = services.history
        self._tokens = services.tokens
        self._revocations = services.revocations
        self._clock = services.clock
        self._listing = Listing(services.history)

    async def put(self, request: Request) -> Response:
        room_id, room = room_id_of(request), _as_shown(await body(request, PutRoom))
        created = await self._admin.put(room_id, room)
        return await self._changed(room_id, 201 if created else 200)

    async def patch(self, request: Request) -> Response:
        room_id, changes = room_id_of(request), _as_shown(await body(request, PatchRoom))
        try:
            await self._admin.patch(room_id, changes)
        except Busy:
            raise HttpError(503, "busy", "Others change this room at the same time; try again.") from None
        return await self._changed(room_id)

    async def delete(self, request: Request) -> Response:
        """The room as it was."""
        room_id = room_id_of(request)
        room = whole(room_id, await self._history.meta(room_id))
        await self._admin.delete(room_id)
        self._listing.note(room_id, None)
        return answer(room)

    async def get(self, request: Request) -> Response:
        room_id = room_id_of(request)
        meta = await self._history.meta(room_id)
        room = whole(room_id, meta)
        return answer(room if self._may_see_all(request, room_id, about_of(meta)) else room.shown())

    async def list(self, request: Request) -> Response:
        asked = query(request, RoomsQuery)
        page = await self._listing.page(_wanted(asked), asked.sort, asked.limit, _place(asked))
        return answer({"rooms": page.rooms, "next": next_page(asked, page.after and _cursor(asked, page.after))})

    async def _changed(self, room_id: str, status: int = 200) -> Response:
        """The room as it is now, which is at once in this node's list, too."""
        room = whole(room_id, await self._history.meta(room_id))
        self._listing.note(room_id, room.shown())
        return answer(room, status)

    def _may_see_all(self, request: Request, room_id: RoomId, about: About) -> bool:
        """The host platform and the room's host may; a wrong token shows what everybody sees."""
        if has_key(request):
            return True
        try:
            claims = self._tokens.check(bearer(request), self._clock.now_ms() / 1000)
        except BadToken:
            return False
        if self._revocations.hold(claims.sub, room_id, claims.minted_ms):
            return False
        return claims.room in (None, room_id) and role_in(about, claims.sub, granted(claims, room_id)) == "host"

    async def turn(self, request: Request) -> Response:
        room_id, verb = room_id_of(request), request.path_params["verb"]
        try:
            await self._admin.turn(room_id, verb)
        except WrongStatus as wrong:
            raise HttpError(409, "wrong_status", str(wrong)) from None
        except NotEligible as refused:
            raise HttpError(409, "not_eligible", str(refused), missing=refused.missing) from None
        return await self._changed(room_id)


def _wanted(asked: RoomsQuery) -> Wanted:
    """What the rooms must have. Raises HttpError."""
    try:
        tag = None if asked.hashtag is None else hashtag_of(asked.hashtag)
    except BadDefinition as bad:
        raise HttpError(400, "bad_request", str(bad)) from None
    return Wanted(asked.status, asked.category or None, tag, asked.language or None)


def _is_step(request: Request) -> None:
    """Raise HttpError for what may be another address of a room, with other methods."""
    if request.path_params["verb"] not in TURNS:
        raise HttpError(404, "not_found", f"A room has no such step. Its steps are {STEPS}.")


def _cursor(asked: RoomsQuery, place: Place) -> str:
    return place[1] if asked.sort == "room" else f"{-place[0]}:{place[1]}"


def _place(asked: RoomsQuery) -> Place | None:
    """The place in a list from `after`: `<room>`, or in another order `<viewers>:<room>` or `<start>:<room>`."""
    if asked.after is None:
        return None
    number, _, room_id = asked.after.rpartition(":")
    return (0 if asked.sort == "room" else -int(number or 0), room_id)


def _as_shown(room: Definition) -> Definition:
    """The definition with its texts as everybody sees them. Raises HttpError."""
    try:
        return as_shown(room)
    except BadDefinition as bad:
        raise HttpError(400, "bad_request", str(bad)) from None


async def _not_upgraded(_request: Request) -> Response:
    raise HTTPException(
        426,
        "This is the address of a websocket. A proxy must pass on the headers Upgrade and Connection, in HTTP/1.1.",
        {"Upgrade": "websocket", "Connection": "Upgrade"},
    )


def routes(admin: RoomsAdmin, services: Services) -> list[Route]:
    rooms, one = _Rooms(admin, services), "/v1/rooms/{room}"
    return [
        route("/v1/rooms", rooms.list, summary="Rooms, page by page", query=RoomsQuery, gives=RoomsPage, open=True),
        route(one, rooms.get, summary="One room", gives=(RoomShown, RoomWhole), open=True),
        route(
            one,
            rooms.put,
            method="PUT",
            summary="Create or change a room",
            body=PutRoom,
            gives=RoomWhole,
            statuses=(200, 201),
        ),
        route(one, rooms.patch, method="PATCH", summary="Change only what is named", body=PatchRoom, gives=RoomWhole),
        route(one, rooms.delete, method="DELETE", summary="Delete a room, and close its sockets", gives=RoomWhole),
        Route(one + "/ws", _not_upgraded, methods=["GET"]),  # the document leaves it out
        route(one + "/{verb}", rooms.turn, method="POST", summary=STEPS, gives=RoomWhole, check=_is_step),
    ]
