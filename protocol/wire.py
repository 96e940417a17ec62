"""Bases of everything on the wire: commands (client to server), events (with seq), messages to one socket."""

from enum import Enum
from typing import ClassVar, Literal

import msgspec
from msgspec import Struct

from protocol.ids import Ref, UserId

Role = Literal["viewer", "moderator", "host", "overlay", "bot"]
Codec = Literal["json", "msgpack"]
SUBPROTOCOLS: dict[str, Codec] = {"liveroom.v1.json": "json", "liveroom.v1.msgpack": "msgpack"}
TOKEN_SUBPROTOCOL = "liveroom.token."  # noqa: S105  # and the token: never chosen, so that it stands in no address and no log


class Delivery(Enum):
    """What may happen to an event under load. Every event type declares its class."""

    KEPT = "kept"  # never dropped: money, moderation, room state
    DROPPABLE = "droppable"  # sampled per room when over budget: chat
    LATEST = "latest"  # only the newest matters: counts, boards


class Command(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """A client's request. Exactly one reply repeats its `ref`. Overlays may send it, too, if `for_listeners`.

    If it has none, only a refusal comes, unless the command is `always_answered`.
    """

    for_listeners: ClassVar[bool] = False
    always_answered: ClassVar[bool] = False
    ref: Ref | None = None


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Something that happened in a room. The room store sets `seq` (contiguous per epoch) and `at_ms`."""

    delivery: ClassVar[Delivery] = Delivery.KEPT
    says_kept: ClassVar[bool] = False  # whether each event says by its field `kept` that it may be dropped
    id: str
    seq: int = 0
    at_ms: int = 0
    replayed: bool = False


class Message(Struct, frozen=True, kw_only=True, tag_field="type"):
    """A message to one socket alone: replies, notices, the welcome."""


class Ok(Message, frozen=True, kw_only=True, tag="ok"):
    """A command was carried out. Features add fields in subclasses."""

    ref: str | None = None


class User(Struct, frozen=True, kw_only=True):
    """A person, as others see them."""

    user_id: UserId
    name: str
    role: Role | None = None
    badges: tuple[str, ...] = ()


class Named(Struct, frozen=True):
    """A person on a board, or a host: an id and a display name."""

    user_id: UserId
    name: str


class SnapshotPart(Struct, frozen=True, kw_only=True):
    """The fields that a feature adds to the snapshot, beside the room's own. Each has a default."""


class Rank(Struct, frozen=True):
    """One row of the room's board."""

    rank: int
    user: Named
    coins: int


def encode(message: Struct) -> bytes:
    """The JSON bytes of a message or an event. This is the canonical form, which histories keep."""
    return msgspec.json.encode(message)
