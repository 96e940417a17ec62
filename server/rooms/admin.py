"""Administration of rooms: create and change them, and start, pause or end their broadcasts."""

import contextlib
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from protocol.ids import NAME_CHARS_MAX, Name, PersonId, RoomId
from protocol.rooms import (
    HASHTAG_CHARS_MAX,
    Category,
    Details,
    Hashtags,
    Language,
    RoomDeleted,
    RoomEnded,
    RoomPaused,
    RoomResumed,
    RoomSuspended,
    RoomUpdated,
    Settings,
    SettingsChange,
    Status,
    TimeMs,
)
from protocol.wire import Event, Named, encode
from server import limits
from server.clock import Clock
from server.journal import due
from server.journal.database import ask
from server.journal.due import Work
from server.journal.forgotten import forget_room
from server.rooms.about import About, about_of, shown_settings, stored
from server.rooms.catalogues import OF_ROOMS
from server.rooms.eligibility import Eligibility, NotEligible, everybody
from server.rooms.history import History, new_epoch
from server.store import keys, scripts
from server.store.client import StoreError
from server.text import NotSeen, clean
from server.words import is_phrase

PUT = scripts.load("admin_put")
TURN = scripts.load("admin_turn")
DELETE = scripts.load("admin_delete")
SCRIPTS = (PUT, TURN, DELETE)
ENDED = keys.of_room("ended", "Hash: what the room knew of each broadcast at its end, until its summary is made.")
AUDIENCE = keys.of_room("audience", "Set per broadcast that has ended: who watched it, until its summary is made.")
REMIND = "rooms.remind"  # the work that is due before a broadcast; its `ref` is "<starts_at_ms>:<due_at_ms>"
SUM = "broadcasts.sum"  # the work that is due when a broadcast has ended


class WrongStatus(Exception):
    """The room's status does not allow this step."""

    def __init__(self, status: str, verb: str) -> None:
        super().__init__(f"The room is {status}; it cannot {verb}.")
        self.status, self.verb = status, verb


class Busy(Exception):
    """Others change the room all the time."""


class Host(Struct, frozen=True, forbid_unknown_fields=True):
    """The owner of the room."""

    user_id: PersonId
    name: Name


class PutRoom(Struct, frozen=True, forbid_unknown_fields=True):
    """A room's definition, as a request gives it."""

    host: Host
    title: Annotated[str, Meta(max_length=limits.TITLE_CHARS_MAX)] = ""
    settings: Settings = Settings()
    category: Category = ""
    hashtags: Hashtags = ()
    language: Language = ""
    starts_at_ms: TimeMs | None = None

    @property
    def details(self) -> Details:
        return Details(self.category, self.hashtags, self.language, self.starts_at_ms)


class PatchRoom(Struct, frozen=True, forbid_unknown_fields=True):
    """Changes of a room's definition. What is absent stays as it is."""

    host: Host | UnsetType = UNSET
    title: Annotated[str, Meta(max_length=limits.TITLE_CHARS_MAX)] | UnsetType = UNSET
    settings: SettingsChange | UnsetType = UNSET  # type: ignore[valid-type]
    category: Category | UnsetType = UNSET
    hashtags: Hashtags | UnsetType = UNSET
    language: Language | UnsetType = UNSET
    starts_at_ms: TimeMs | UnsetType | None = UNSET


class BadDefinition(ValueError):
    """The definition has a text of which nobody would see anything. The text of the error says which."""


Definition = TypeVar("Definition", PutRoom, PatchRoom)


def as_shown(room: Definition) -> Definition:
    """The definition with its texts as everybody sees them. Raises BadDefinition."""
    changed: dict[str, Any] = {}
    words = UNSET if room.settings is UNSET else room.settings.blocked_words
    if words is not UNSET and not all(map(is_phrase, words)):
        raise BadDefinition("A blocked word has no letter, digit or emoji to look for.")
    if room.host is not UNSET:
        changed["host"] = msgspec.structs.replace(room.host, name=_shown("host's name", room.host.name, NAME_CHARS_MAX))
    if room.title is not UNSET and room.title:
        changed["title"] = _shown("title", room.title, limits.TITLE_CHARS_MAX)
    if room.hashtags is not UNSET:
        changed["hashtags"] = tuple(dict.fromkeys(map(hashtag_of, room.hashtags)))
    return msgspec.structs.replace(room, **changed)


def hashtag_of(text: str) -> str:
    """A hashtag as rooms are found by it: without its sign, and in small letters. Raises BadDefinition."""
    tag = _shown("hashtag", text.removeprefix("#"), HASHTAG_CHARS_MAX).casefold()
    if len(tag) > HASHTAG_CHARS_MAX or "#" in tag or any(map(str.isspace, tag)):  # once it is composed and folded
        raise BadDefinition("A hashtag is one word.")
    return tag


def _shown(name: str, text: str, chars_max: int) -> str:
    try:
        return clean(text, chars_max)
    except NotSeen:
        raise BadDefinition(f"The {name} has nothing to see.") from None


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

    def __init__(
        self, history: History, clock: Clock, eligibility: Eligibility = everybody, engine: Engine | None = None
    ) -> None:
        self._history = history
        self._clock = clock
        self._eligibility = eligibility
        self._engine = engine

    async def put(self, room_id: RoomId, room: PutRoom) -> bool:
        """Create or change a room. Return whether it was created. Raises StoreError.

        A room that is listed and not there is harmless, and the next put makes it. One that is there and not listed
        would not wake with a new store: so the list is first, and again last, lest a delete was in between.
        """
        await self._history.enlist(room_id)
        created = await self._put(room_id, room) == b"created"
        if created:
            await self._history.enlist(room_id)
        return created

    async def delete(self, room_id: RoomId) -> None:
        """Delete a room with all that it has, and close its sockets: the next one of its name begins with nothing.

        Raises NoSuchRoom, StoreError, SQLAlchemyError: then it may be repeated.
        """
        everything = keys.all_of_a_room(room_id)
        try:
            await self._history.position(room_id)
            await self._forget(room_id)
            await self._history.change(
                room_id,
                DELETE,
                body=encode(RoomDeleted(id=self._clock.new_id(), status="ended")),
                each=[{"key": key, "name": name} for name, key in everything.items()],
            )
            if await self._history.store.call("EXISTS", keys.room(room_id, keys.META)) == 0:
                await self._forget(room_id)  # what somebody wrote while the room was still there
        finally:  # also what an interrupted put or delete has left
            await self._history.strike(room_id)

    async def _forget(self, room_id: RoomId) -> None:
        if self._engine is not None:
            await ask(forget_room, self._engine, room_id, OF_ROOMS, self._clock.now_ms())

    async def patch(self, room_id: RoomId, changes: PatchRoom) -> None:
        """Change only what is named. Raises NoSuchRoom, Busy, StoreError."""
        for _ in range(limits.PATCH_TRIES_MAX):
            meta = await self._history.meta(room_id)
            old = "\0".join(meta.get(name, "") for name in ("host_id", "host_name", "title", "settings", "details"))
            if await self._put(room_id, _patched(about_of(meta), changes), expected=old) != b"changed":
                return
        raise Busy

    async def _schedule(self, room_id: RoomId, starts_ms: int) -> None:
        """Write down when the room is to be reminded. What stands there of another time is then dropped.

        Raises SQLAlchemyError.
        """
        if self._engine is not None:
            now_ms = self._clock.now_ms()
            times = [starts_ms - before_ms for before_ms in limits.REMIND_BEFORE_MS]
            works = [Work(REMIND, room_id, f"{starts_ms}:{at_ms}", at_ms) for at_ms in times if at_ms > now_ms]
            await ask(due.add, self._engine, works, REMIND)

    async def _put(self, room_id: RoomId, room: PutRoom, *, expected: str = "") -> bytes:
        if room.starts_at_ms is not None:  # first: without its room it does nothing
            await self._schedule(room_id, room.starts_at_ms)
        settings, updated = shown_settings(room.settings), RoomUpdated(id=self._clock.new_id())
        outcome = await self._history.change(
            room_id,
            PUT,
            expected=expected,
            epoch=new_epoch(self._clock),
            kept_s=limits.ROOM_KEPT_S,
            identity=self._history.store.identity_at(keys.room(room_id, keys.META)),
            host_id=room.host.user_id,
            host_name=room.host.name,
            title=room.title,
            settings=stored(room.settings),
            shown_settings=msgspec.json.encode(settings),
            details=b"" if room.details == Details() else msgspec.json.encode(room.details),
            updated=encode(updated),
            new_host=_field("host", Named(room.host.user_id, room.host.name)),
            new_title=_field("title", room.title),
            new_settings=_field("settings", settings),
            new_details=b"".join(_field(*each) for each in msgspec.structs.asdict(room.details).items()),
        )
        return bytes(outcome[0])

    async def turn(self, room_id: RoomId, verb: str) -> None:
        """Carry out one of TURNS. Repeating it is not an error.

        Raises NoSuchRoom, WrongStatus, NotEligible, StoreError, and SQLAlchemyError where the host is looked up.
        """
        turn, now_ms = TURNS[verb], self._clock.now_ms()
        if verb == "start":
            await self._check_eligible(room_id)
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
            audience=keys.room(room_id, AUDIENCE, ""),
            allowed=f" {' '.join(turn.allowed)} ",
            status=turn.status,
            broadcast=broadcast_id,
            started_at_ms=now_ms,
            kept_s=limits.ROOM_KEPT_S,
            body=encode(event),
        )
        match outcome[0]:
            case b"ok" | b"unchanged":
                if verb in ("end", "suspend"):
                    await self._note_ended(room_id)
            case b"wrong_status":
                raise WrongStatus(outcome[1].decode(), verb)
            case _:
                raise AssertionError(outcome)

    async def _note_ended(self, room_id: RoomId) -> None:
        """Write down that a summary is due. The show goes on without SQL: then it is found later (`broadcasts`)."""
        if self._engine is None:
            return
        with contextlib.suppress(StoreError, SQLAlchemyError):
            found = await self._history.store.call("HKEYS", keys.room(room_id, ENDED))
            due_ms = self._clock.now_ms() + limits.SUM_AFTER_MS
            works = [Work(SUM, room_id, each.decode(), due_ms) for each in cast(list[bytes], list(found))]
            await ask(due.add, self._engine, works)

    async def _check_eligible(self, room_id: RoomId) -> None:
        """Ask whether the host may begin, if the status allows it. Raises NotEligible, NoSuchRoom, StoreError."""
        meta = await self._history.meta(room_id)
        if meta["status"] in TURNS["start"].allowed and (missing := await self._eligibility(meta["host_id"])):
            raise NotEligible(missing)


def _patched(about: About, changes: PatchRoom) -> PutRoom:
    """The whole definition after the changes."""
    host = Host(about.host.user_id, about.host.name) if changes.host is UNSET else changes.host
    title = about.title if changes.title is UNSET else changes.title
    named: dict[str, object] = {} if changes.settings is UNSET else msgspec.structs.asdict(changes.settings)
    named = {name: value for name, value in named.items() if value is not UNSET}
    details = msgspec.structs.asdict(about.details)
    details |= {name: value for name in details if (value := getattr(changes, name)) is not UNSET}
    return PutRoom(host, title, msgspec.structs.replace(about.settings, **named), **details)


def _field(name: str, value: object) -> bytes:
    """One field as JSON to splice into an encoded event, with the comma before it."""
    assert name in RoomUpdated.__struct_encode_fields__
    return b"," + msgspec.json.encode({name: value})[1:-1]
