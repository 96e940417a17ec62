"""A room's own state: its settings, the snapshot for newcomers, and the events when it changes."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.broadcasts import Broadcast
from protocol.ids import RoomId
from protocol.refusals import Reason
from protocol.wire import Command, Event, Named, Rank

TITLE_CHARS_MAX = 200
Status = Literal["offline", "live", "paused", "ended", "suspended"]
ChatFor = Literal["everyone", "followers", "club", "staff"]


HASHTAGS_MAX = 10
HASHTAG_CHARS_MAX = 32
Category = Annotated[str, Meta(pattern=r"^[a-z0-9_-]{0,32}$(?!\n)", max_length=32, description="0-32 of a-z0-9_-")]
Language = Annotated[
    str,
    Meta(
        pattern=r"^([a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3})?$(?!\n)",
        max_length=30,
        description="a language tag such as `en` or `pt-BR` (BCP 47), or empty",
    ),
]
Hashtag = Annotated[
    str,
    Meta(
        pattern=r"^#?[^\x00-\x20#]{1,32}$(?!\n)", min_length=1, max_length=1 + HASHTAG_CHARS_MAX, description="one word"
    ),
]
Hashtags = Annotated[tuple[Hashtag, ...], Meta(max_length=HASHTAGS_MAX)]
TimeMs = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class RoomsRefusal(Reason):
    """The reasons of the room's own commands."""

    WRONG_STATUS = "wrong_status", "The room's status does not allow this step."
    NOT_ELIGIBLE = "not_eligible", "The host may not begin a broadcast yet."


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """What a host may set. `slow_mode_s` 0 is off. Chat over the room's budget of `chat_per_s` is hidden. Smaller gifts
    than `gift_min_coins_message` take no message.

    `chat_for` followers is also for the club; who follows for less than `followers_min_age_s` must wait.
    With `joins` the room sees who comes: a sample, and each whose level is above `spotlight_level`.
    `automod` 0 is off, 4 the strictest. `reports_hold` people report a message before it is held; 0 is off. While the
    `shield` is on, it makes other settings stricter.
    """

    chat: bool = True
    gifts: bool = True
    slow_mode_s: Annotated[int, Meta(ge=0, le=120)] = 0
    unique_chat_s: Annotated[int, Meta(ge=0, le=300)] = 0
    chat_per_s: Annotated[int, Meta(ge=1, le=5_000)] = 2_000
    chat_for: ChatFor = "everyone"
    followers_min_age_s: Annotated[int, Meta(ge=0, le=31_536_000)] = 0
    links: bool = True
    emotes_only: bool = False
    gift_min_coins_message: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    likes: bool = True
    joins: bool = True
    spotlight_level: Annotated[int, Meta(ge=0, le=1_000)] = 9
    blocked_words: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...], Meta(max_length=500)] = ()
    automod: Annotated[int, Meta(ge=0, le=4)] = 0
    reports_hold: Annotated[int, Meta(ge=0, le=100)] = 0
    shield: bool = False


def optional(kind: type[Struct], name: str, about: str) -> type[Struct]:
    """The same fields, each of which may be absent."""
    fields = [(each.name, Union[each.type, UnsetType], UNSET) for each in msgspec.structs.fields(kind)]  # noqa: UP007
    namespace = {"__doc__": about, "__module__": __name__}
    return msgspec.defstruct(name, fields, frozen=True, forbid_unknown_fields=True, namespace=namespace)


SettingsChange = optional(Settings, "SettingsChange", "Settings to change. Absent ones stay as they are.")


class ShownSettings(Struct, frozen=True):
    """The settings that everybody in the room may see, as they are in force: without the list of blocked words."""

    chat: bool
    gifts: bool
    slow_mode_s: int
    unique_chat_s: int
    chat_for: str = "everyone"
    followers_min_age_s: int = 0
    links: bool = True
    emotes_only: bool = False
    gift_min_coins_message: int = 0
    likes: bool = True
    joins: bool = True
    spotlight_level: int = 9
    shield: bool = False


class Details(Struct, frozen=True):
    """By what people find a room, and when its next broadcast is to begin. They stand beside the title everywhere."""

    category: str = ""
    hashtags: tuple[str, ...] = ()
    language: str = ""
    starts_at_ms: int | None = None


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
    category: str = ""
    hashtags: tuple[str, ...] = ()
    language: str = ""
    starts_at_ms: int | None = None

    if TYPE_CHECKING:

        def __getattr__(self, part: str) -> Any:
            """A field of a SnapshotPart: `protocol.SNAPSHOT` is this class with all of them."""


class SetRoom(Command, frozen=True, tag="room.set"):
    """Staff: change the title or settings. What is absent stays as it is."""

    title: Annotated[str, Meta(max_length=TITLE_CHARS_MAX)] | UnsetType = UNSET
    settings: SettingsChange | UnsetType = UNSET  # type: ignore[valid-type]


class StartRoom(Command, frozen=True, tag="room.start"):
    """The host: begin a broadcast."""


class PauseRoom(Command, frozen=True, tag="room.pause"):
    """The host: pause the broadcast. Chat stays open, gifts wait."""


class ResumeRoom(Command, frozen=True, tag="room.resume"):
    """The host: go on after a pause."""


class EndRoom(Command, frozen=True, tag="room.end"):
    """The host: end the broadcast."""


class RoomUpdated(Event, frozen=True, tag="room.updated"):
    """The room changed. Absent fields did not."""

    title: str | UnsetType = UNSET
    host: Named | UnsetType = UNSET
    settings: ShownSettings | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    broadcast_id: str | UnsetType = UNSET
    started_at_ms: int | UnsetType = UNSET
    category: str | UnsetType = UNSET
    hashtags: tuple[str, ...] | UnsetType = UNSET
    language: str | UnsetType = UNSET
    starts_at_ms: int | UnsetType | None = UNSET


class RoomPaused(Event, frozen=True, tag="room.paused"):
    """The host paused."""

    status: Status


class RoomResumed(Event, frozen=True, tag="room.resumed"):
    """The host resumed."""

    status: Status


class RoomEnded(Event, frozen=True, tag="room.ended"):
    """The host ended the broadcast."""

    status: Status


class RoomReminded(Event, frozen=True, tag="room.reminded"):
    """The next broadcast is to begin at `starts_at_ms`, in `in_ms`."""

    starts_at_ms: int
    in_ms: int


class RoomSummed(Event, frozen=True, tag="room.summed"):
    """What a broadcast brought, some seconds after its end."""

    broadcast: Broadcast


class RoomSuspended(Event, frozen=True, tag="room.suspended"):
    """The platform ended the broadcast."""

    status: Status


class RoomDeleted(Event, frozen=True, tag="room.deleted"):
    """The platform deleted the room. It is the last event."""

    status: Status
