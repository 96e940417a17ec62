"""A room's own state: its settings, the snapshot for newcomers, and the events when it changes."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.ids import RoomId
from protocol.wire import Event, Named, Rank

Status = Literal["offline", "live", "paused", "ended", "suspended"]


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """What a host may set. `slow_mode_s` 0 is off. Chat over the room's budget of `chat_per_s` is hidden."""

    chat: bool = True
    gifts: bool = True
    slow_mode_s: Annotated[int, Meta(ge=0, le=120)] = 0
    unique_chat_s: Annotated[int, Meta(ge=0, le=300)] = 0
    chat_per_s: Annotated[int, Meta(ge=1, le=5_000)] = 2_000
    blocked_words: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...], Meta(max_length=500)] = ()


class ShownSettings(Struct, frozen=True):
    """The settings that everybody in the room may see, so without the list of blocked words."""

    chat: bool
    gifts: bool
    slow_mode_s: int
    unique_chat_s: int


class Viewers(Struct, frozen=True):
    """People watching: now, the most at once, and how many different ones in this broadcast."""

    now: int
    peak: int
    unique: int


class Snapshot(Struct, frozen=True, kw_only=True):
    """A room exactly as of the welcome's `seq`."""

    room_id: RoomId
    broadcast_id: str | None
    title: str
    status: Status
    host: Named
    started_at_ms: int | None
    settings: ShownSettings
    viewers: Viewers
    likes: int
    coins: int
    top: tuple[Rank, ...]
    goals: tuple[Any, ...] = ()
    pins: tuple[Any, ...] = ()

    if TYPE_CHECKING:

        def __getattr__(self, part: str) -> Any:
            """A field of a SnapshotPart: `protocol.SNAPSHOT` is this class with all of them."""


class RoomUpdated(Event, frozen=True, tag="room.updated"):
    """The room changed. Absent fields did not."""

    title: str | UnsetType = UNSET
    host: Named | UnsetType = UNSET
    settings: ShownSettings | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    broadcast_id: str | UnsetType = UNSET
    started_at_ms: int | UnsetType = UNSET


class RoomPaused(Event, frozen=True, tag="room.paused"):
    """The host paused."""

    status: Status


class RoomResumed(Event, frozen=True, tag="room.resumed"):
    """The host resumed."""

    status: Status


class RoomEnded(Event, frozen=True, tag="room.ended"):
    """The host ended the broadcast."""

    status: Status


class RoomSuspended(Event, frozen=True, tag="room.suspended"):
    """The platform ended the broadcast."""

    status: Status


class RoomDeleted(Event, frozen=True, tag="room.deleted"):
    """The platform deleted the room. It is the last event."""

    status: Status
