"""Administration of rooms: create and change them, and start, pause or end their broadcasts."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from protocol.ids import Name, PersonId, RoomId
from protocol.rooms import RoomEnded, RoomPaused, RoomResumed, RoomSuspended, RoomUpdated, Settings, Status
from protocol.wire import Event, Named, encode
from server import limits
from server.clock import Clock
from server.rooms.about import shown_settings
from server.rooms.history import History, new_epoch
from server.store import keys, scripts

PUT = scripts.load("admin_put")
TURN = scripts.load("admin_turn")
SCRIPTS = (PUT, TURN)


class WrongStatus(Exception):
    """The room's status does not allow this step."""

    def __init__(self, status: str, verb: str) -> None:
        super().__init__(f"The room is {status}; it cannot {verb}.")
        self.status, self.verb = status, verb


class Host(Struct, frozen=True, forbid_unknown_fields=True):
    """The owner of the room."""

    user_id: PersonId
    name: Name


class PutRoom(Struct, frozen=True, forbid_unknown_fields=True):
    """A room's definition, as a request gives it."""

    host: Host
    title: Annotated[str, Meta(max_length=limits.TITLE_CHARS_MAX)] = ""
    settings: Settings = Settings()


class Turn(Struct, frozen=True):
    """A change of a room's status: from which, to which, and the event that announces it."""

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
    """Changes rooms in the store. The nodes learn of it from the room's events."""

    def __init__(self, history: History, clock: Clock) -> None:
        self._history = history
        self._clock = clock

    async def put(self, room_id: RoomId, room: PutRoom) -> bool:
        """Create or change a room. Return whether it was created. Raises StoreError."""
        settings, updated = shown_settings(room.settings), RoomUpdated(id=self._clock.new_id())
        outcome = await self._history.change(
            room_id,
            PUT,
            epoch=new_epoch(self._clock),
            identity=self._history.store.identity_at(keys.room(room_id, keys.META)),
            host_id=room.host.user_id,
            host_name=room.host.name,
            title=room.title,
            settings=msgspec.json.encode(room.settings),
            shown_settings=msgspec.json.encode(settings),
            updated=encode(updated),
            new_host=_field("host", Named(room.host.user_id, room.host.name)),
            new_title=_field("title", room.title),
            new_settings=_field("settings", settings),
        )
        await self._history.store.call("SADD", keys.ROOMS, room_id)
        return bool(outcome[0] == b"created")

    async def turn(self, room_id: RoomId, verb: str) -> None:
        """Carry out one of TURNS. Repeating it is not an error. Raises NoSuchRoom, WrongStatus, StoreError."""
        turn, now_ms = TURNS[verb], self._clock.now_ms()
        broadcast_id, event_id = "", self._clock.new_id()
        event: Event
        if verb == "start":
            broadcast_id = self._clock.new_id()
            event = RoomUpdated(id=event_id, status="live", broadcast_id=broadcast_id, started_at_ms=now_ms)
        else:
            event = turn.event(id=event_id, status=turn.status)  # type: ignore[call-arg]
        outcome = await self._history.change(
            room_id,
            TURN,
            allowed=f" {' '.join(turn.allowed)} ",
            status=turn.status,
            broadcast=broadcast_id,
            started_at_ms=now_ms,
            body=encode(event),
        )
        match outcome[0]:
            case b"ok" | b"unchanged":
                return
            case b"wrong_status":
                raise WrongStatus(outcome[1].decode(), verb)
            case _:
                raise AssertionError(outcome)


def _field(name: str, value: object) -> bytes:
    """One field as JSON to splice into an encoded event, with the comma before it."""
    assert name in RoomUpdated.__struct_encode_fields__
    return b"," + msgspec.json.encode({name: value})[1:-1]
