"""Members: what staff decides about people in a room. Staff are the host, the room's moderators, and the site's."""

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from protocol.ids import UserId
from protocol.refusals import Reason
from protocol.wire import Command, Delivery, Event, Message, Named, Ok

REASON_CHARS_MAX = 200
WARNING_CHARS_MAX = 500
SECONDS_MAX = 31_536_000  # a year; without `seconds` there is no end

ReasonText = Annotated[str, Meta(max_length=REASON_CHARS_MAX)]
Seconds = Annotated[int, Meta(ge=1, le=SECONDS_MAX)]


class MembersRefusal(Reason):
    """The reasons of staff's decisions."""

    WARNED = "warned", "The staff has warned you; acknowledge it first."
    TOO_MANY_MEMBERS = "too_many_members", "The room keeps too many decisions about people; lift old ones first."


class _About(Command, frozen=True):
    """A command about one person."""

    user_id: UserId


class MuteMember(_About, frozen=True, tag="members.mute"):
    """Let somebody read, but not chat. Without `seconds` until the broadcast ends."""

    seconds: Seconds | None = None
    reason: ReasonText = ""


class UnmuteMember(_About, frozen=True, tag="members.unmute"):
    """Let somebody chat again."""


class BanMember(_About, frozen=True, tag="members.ban"):
    """Put somebody out of the room, and let nobody of this id in again. Without `seconds` forever."""

    seconds: Seconds | None = None
    reason: ReasonText = ""


class UnbanMember(_About, frozen=True, tag="members.unban"):
    """Let somebody in again."""


class KickMember(_About, frozen=True, tag="members.kick"):
    """Close somebody's sockets. They may come back."""

    reason: ReasonText = ""


class HideMember(_About, frozen=True, tag="members.hide"):
    """Show somebody's chat to nobody but themselves and staff. They are not told."""

    reason: ReasonText = ""


class UnhideMember(_About, frozen=True, tag="members.unhide"):
    """Show somebody's chat to everybody again."""


class WarnMember(_About, frozen=True, tag="members.warn"):
    """Tell somebody something that they must acknowledge before they may chat again."""

    text: Annotated[str, Meta(min_length=1, max_length=WARNING_CHARS_MAX)]


class AcknowledgeWarning(Command, frozen=True, tag="members.acknowledge"):
    """I have read the warning."""


class PromoteMember(_About, frozen=True, tag="members.promote"):
    """Make somebody a moderator of this room."""


class DemoteMember(_About, frozen=True, tag="members.demote"):
    """Let somebody be a moderator of this room no longer."""


class Decided(Struct, frozen=True, kw_only=True):
    """What staff has decided about somebody, as it stands now. `muted` and `banned` without an end have a null time."""

    user_id: UserId
    moderator: bool
    muted: bool
    muted_until_ms: int | None
    banned: bool
    banned_until_ms: int | None
    hidden: bool
    warned: bool


class ListMembers(Command, frozen=True, tag="members.list"):
    """Everybody about whom staff has decided something, by user id."""

    after: UserId | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class ListMembersOk(Ok, frozen=True, kw_only=True, tag="ok"):
    """A page of them. `next` is the `after` of the next page."""

    members: tuple[Decided, ...]
    next: str | None


class _Decision(Event, frozen=True, kw_only=True):
    """Everybody in the room gets it."""

    delivery: ClassVar[Delivery] = Delivery.KEPT
    user_id: UserId
    by: Named


class MemberMuted(_Decision, frozen=True, kw_only=True, tag="members.muted"):
    """Somebody may not chat until `until_ms`; null is the end of the broadcast."""

    until_ms: int | None
    reason: str


class MemberUnmuted(_Decision, frozen=True, kw_only=True, tag="members.unmuted"):
    """Somebody may chat again."""


class MemberBanned(_Decision, frozen=True, kw_only=True, tag="members.banned"):
    """Somebody was put out of the room until `until_ms`; null is forever."""

    until_ms: int | None
    reason: str


class MemberUnbanned(_Decision, frozen=True, kw_only=True, tag="members.unbanned"):
    """Somebody may come in again."""


class MemberKicked(_Decision, frozen=True, kw_only=True, tag="members.kicked"):
    """Somebody's sockets were closed."""

    reason: str


class MemberPromoted(_Decision, frozen=True, kw_only=True, tag="members.promoted"):
    """Somebody moderates this room now."""


class MemberDemoted(_Decision, frozen=True, kw_only=True, tag="members.demoted"):
    """Somebody moderates this room no longer."""


class MemberEntered(Event, frozen=True, kw_only=True, tag="members.entered"):
    """Somebody above the room's `spotlight_level` has come in. `banner` is how a page shows it; empty for none."""

    delivery: ClassVar[Delivery] = Delivery.LATEST
    user: Named
    level: int
    banner: str


class MemberWarned(Message, frozen=True, kw_only=True, tag="members.warned"):
    """You are warned: you cannot chat until you acknowledge it."""

    text: str
    by: Named
