"""Rooms over HTTP: create, change and read them, and start, pause or end their broadcasts."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.ids import NAME_CHARS_MAX, RoomId
from server import limits
from server.http.api import HttpError, answer, body, room_id_of, route, shown
from server.rooms.about import about_of, shown_settings
from server.rooms.admin import TURNS, PutRoom, RoomsAdmin, WrongStatus
from server.rooms.history import History
from server.text import plain


async def view(history: History, room_id: RoomId) -> dict[str, object]:
    """A room as the API shows it. Raises NoSuchRoom."""
    raw = await history.snapshot(room_id)
    about = about_of(raw.meta)
    return {
        "room_id": room_id,
        "title": about.title,
        "status": about.status,
        "host": about.host,
        "broadcast_id": about.broadcast_id,
        "started_at_ms": about.started_at_ms,
        "settings": shown_settings(about.settings),
        "viewers": {name: int(raw.meta.get(name, 0)) for name in ("now", "peak", "unique")},
        "likes": int(raw.meta.get("likes", 0)),
        "coins": int(raw.meta.get("coins", 0)),
        "epoch": raw.epoch,
        "seq": raw.seq,
    }


class _Rooms:
    def __init__(self, admin: RoomsAdmin, history: History) -> None:
        self._admin = admin
        self._history = history

    async def put(self, request: Request) -> Response:
        room_id, room = room_id_of(request), _as_shown(await body(request, PutRoom))
        created = await self._admin.put(room_id, room)
        return answer(await view(self._history, room_id), 201 if created else 200)

    async def get(self, request: Request) -> Response:
        return answer(await view(self._history, room_id_of(request)))

    async def list(self, _request: Request) -> Response:
        return answer([await view(self._history, room_id) for room_id in await self._history.room_ids()])

    async def turn(self, request: Request) -> Response:
        room_id, verb = room_id_of(request), request.path_params["verb"]
        if verb not in TURNS:
            raise HttpError(404, "not_found", "There is no such step in a room's life.")
        try:
            await self._admin.turn(room_id, verb)
        except WrongStatus as wrong:
            raise HttpError(409, "wrong_status", str(wrong)) from None
        return answer(await view(self._history, room_id))


def _as_shown(room: PutRoom) -> PutRoom:
    """The room with its texts as everybody sees them. Raises HttpError."""
    if not all(plain(word).strip() for word in room.settings.blocked_words):
        raise HttpError(400, "bad_request", "A blocked word has nothing to see: it would block every message.")
    host = msgspec.structs.replace(room.host, name=shown("host's name", room.host.name, NAME_CHARS_MAX))
    title = shown("title", room.title, limits.TITLE_CHARS_MAX) if room.title else ""
    return msgspec.structs.replace(room, host=host, title=title)


def routes(admin: RoomsAdmin, history: History) -> list[Route]:
    rooms = _Rooms(admin, history)
    steps = "start, pause, resume, end or suspend"
    return [
        route("/v1/rooms", rooms.list, summary="Every room", open=True),
        route("/v1/rooms/{room}", rooms.get, summary="One room", open=True),
        route("/v1/rooms/{room}", rooms.put, method="PUT", summary="Create or change a room", body=PutRoom),
        route("/v1/rooms/{room}/{verb}", rooms.turn, method="POST", summary=steps),
    ]
