"""Rooms over HTTP: make one, look at it, and move it through its life."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.ids import Name, RoomId, UserId
from protocol.rooms import (
    RoomEnded,
    RoomPaused,
    RoomResumed,
    RoomSuspended,
    RoomUpdated,
    Settings,
    Status,
)
from protocol.wire import Event, Named, encode
from server import limits
from server.about import about_of, shown_settings
from server.clock import Clock
from server.history import History, event_keys, new_epoch
from server.http.api import HttpError, answer, body, room_id_of, route
from server.store import keys, scripts

PUT = scripts.load("rooms_put")
TURN = scripts.load("rooms_turn")
SCRIPTS = (PUT, TURN)


class Host(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose room it is."""

    user_id: UserId
    name: Name


class PutRoom(Struct, frozen=True, forbid_unknown_fields=True):
    """A room as its owner defines it."""

    host: Host
    title: Annotated[str, Meta(max_length=200)] = ""
    settings: Settings = Settings()


class Turn(Struct, frozen=True):
    """A step in a room's life: from which statuses, to which, and how it is told."""

    allowed: tuple[Status, ...]
    status: Status
    event: type[Event]


TURNS = {
    "start": Turn(("offline", "ended", "suspended"), "live", RoomUpdated),
    "pause": Turn(("live",), "paused", RoomPaused),
    "resume": Turn(("paused",), "live", RoomResumed),
    "end": Turn(("live", "paused"), "ended", RoomEnded),
    "suspend": Turn(("offline", "live", "paused", "ended"), "suspended", RoomSuspended),
}


class RoomsAdmin:
    """Makes and moves rooms in the store; their nodes hear of it as everybody does."""

    def __init__(self, history: History, clock: Clock) -> None:
        self._history = history
        self._clock = clock

    async def put(self, room_id: RoomId, room: PutRoom) -> bool:
        """Create or change; whether it was created."""
        outcome = await self._history.run(
            PUT,
            event_keys(room_id),
            [
                limits.HISTORY_EVENTS_MAX,
                new_epoch(self._clock),
                self._history.store.identity_at(keys.room_meta(room_id)),
                room.host.user_id,
                room.host.name,
                room.title,
                msgspec.json.encode(room.settings),
                self._clock.new_id(),
                msgspec.json.encode(Named(room.host.user_id, room.host.name)),
                msgspec.json.encode(room.title),
                msgspec.json.encode(shown_settings(room.settings)),
            ],
        )
        await self._history.store.call("SADD", keys.ROOMS, room_id)
        return bool(outcome[0] == b"created")

    async def turn(self, room_id: RoomId, verb: str) -> None:
        """Carry out one of TURNS; again is no error. Raises NoSuchRoom, HttpError 409."""
        turn, now_ms = TURNS[verb], self._clock.now_ms()
        broadcast, event_id = "", self._clock.new_id()
        event: Event
        if verb == "start":
            broadcast = self._clock.new_id()
            event = RoomUpdated(id=event_id, status="live", broadcast_id=broadcast, started_at_ms=now_ms)
        else:
            event = turn.event(id=event_id, status=turn.status)  # type: ignore[call-arg]
        names = [
            *event_keys(room_id),
            keys.room_board(room_id),
            keys.room_names(room_id),
            keys.room_state(room_id),
            keys.room_likers(room_id),
            keys.room_seen(room_id),
            keys.room_present(room_id),
        ]
        allowed = f" {' '.join(turn.allowed)} "
        outcome = await self._history.run(
            TURN, names, [limits.HISTORY_EVENTS_MAX, allowed, turn.status, broadcast, now_ms, encode(event)]
        )
        match outcome[0]:
            case b"ok" | b"unchanged":
                return
            case b"wrong_status":
                status = outcome[1].decode()
                raise HttpError(409, "wrong_status", f"The room is {status}; it cannot {verb}.")
            case b"no_room":
                raise HttpError(404, "no_such_room", "There is no such room.")
            case _:
                raise AssertionError(outcome)


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


async def put_room(request: Request) -> Response:
    room_id, room = room_id_of(request), await body(request, PutRoom)
    created = await request.app.state.node.rooms_admin.put(room_id, room)
    return answer(await view(request.app.state.node.history, room_id), 201 if created else 200)


async def get_room(request: Request) -> Response:
    return answer(await view(request.app.state.node.history, room_id_of(request)))


async def list_rooms(request: Request) -> Response:
    history = request.app.state.node.history
    return answer([await view(history, room_id) for room_id in await history.room_ids()])


async def turn_room(request: Request) -> Response:
    room_id, verb = room_id_of(request), request.path_params["verb"]
    if verb not in TURNS:
        raise HttpError(404, "not_found", "There is no such step in a room's life.")
    await request.app.state.node.rooms_admin.turn(room_id, verb)
    return answer(await view(request.app.state.node.history, room_id))


def routes() -> list[Route]:
    return [
        route("/v1/rooms", list_rooms, summary="Every room", open=True),
        route("/v1/rooms/{room}", get_room, summary="One room", open=True),
        route("/v1/rooms/{room}", put_room, method="PUT", summary="Create or change a room", body=PutRoom),
        route(
            "/v1/rooms/{room}/{verb}",
            turn_room,
            method="POST",
            summary="start, pause, resume, end or suspend",
        ),
    ]
