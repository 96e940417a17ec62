"""Chat: what people say, to whom, and with which emotes."""

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.emotes import EmoteShown
from protocol.ids import UserId
from protocol.pins import Pin
from protocol.refusals import Reason
from protocol.wire import Command, Delivery, Event, Named, Ok, User

TEXT_CHARS_MAX = 500
DELETED_MAX = 100  # messages of one command: a screen of them


EventId = Annotated[str, Meta(min_length=1, max_length=64)]


class ChatRefusal(Reason):
    """The reasons of a room's rules about chat."""

    CLUB_ONLY = "club_only", "Only members of the host's club may chat here."
    TOO_YOUNG = "too_young", "You have not followed the host for long enough to chat."
    LINKS_OFF = "links_off", "Links are off in this room."
    EMOTES_ONLY = "emotes_only", "Only emotes and emoji are allowed now."


class SendChat(Command, frozen=True, tag="chat.send"):
    """Say something to the room, perhaps in reply to a message of it.

    `edit_of` is an own held message that this takes the place of.
    """

    text: Annotated[str, Meta(min_length=1, max_length=TEXT_CHARS_MAX)]
    reply_to: EventId | None = None
    edit_of: EventId | None = None


class SendChatOk(Ok, frozen=True, tag="ok"):
    """The message has this `seq` in the room's history. A `hidden` one was over the room's budget: nobody saw it.

    A `held` one waits for staff; `seq` is then the room's present one.
    """

    id: str
    seq: int
    hidden: bool | UnsetType = UNSET
    held: bool | UnsetType = UNSET


class ReplyTo(Struct, frozen=True, kw_only=True):
    """The message that another one replies to, as it was."""

    id: str
    user: User
    text: str


class Fragment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of a text: plain, a mention of somebody, or an emote."""

    type: Literal["text", "mention", "emote"]
    text: str
    user_id: str | None = None
    emote: EmoteShown | None = None


class ChatSent(Event, frozen=True, tag="chat.sent"):
    """Somebody said something. Staff and the sender see what is `hidden` from everybody else; it has no `seq`.

    `fragments` together are `text`; they are absent when there is nothing but text.
    """

    delivery: ClassVar[Delivery] = Delivery.DROPPABLE
    user: User
    text: str
    hidden: bool | UnsetType = UNSET
    reply_to: ReplyTo | UnsetType = UNSET
    fragments: tuple[Fragment, ...] | UnsetType = UNSET


class DeleteChat(Command, frozen=True, tag="chat.delete"):
    """Staff: take these messages away, or all of one person."""

    ids: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...], Meta(max_length=DELETED_MAX)] = ()
    user_id: UserId | None = None
    reason: Annotated[str, Meta(max_length=200)] = ""


class ChatDeleted(Event, frozen=True, tag="chat.deleted"):
    """Show these messages no more, nor any earlier one of these people, also if a replay brings them later."""

    delivery: ClassVar[Delivery] = Delivery.KEPT
    ids: tuple[str, ...]
    user_ids: tuple[str, ...]
    by: Named


class PinChat(Command, frozen=True, tag="chat.pin"):
    """Staff: keep a message or a gift in sight, for `seconds` or until it is taken off."""

    id: EventId
    seconds: Annotated[int, Meta(ge=1, le=86_400)] | None = None


class UnpinChat(Command, frozen=True, tag="chat.unpin"):
    """Staff: take a pin off."""

    id: EventId


class ChatPinned(Event, frozen=True, tag="chat.pinned"):
    """Something is pinned."""

    delivery: ClassVar[Delivery] = Delivery.KEPT
    pin: Pin


class ChatUnpinned(Event, frozen=True, tag="chat.unpinned"):
    """A pin is off: its time is over, staff took it off, or its message was deleted. `pin` is the id of that."""

    delivery: ClassVar[Delivery] = Delivery.KEPT
    pin: str


class ApproveChat(Command, frozen=True, tag="chat.approve"):
    """Staff: let everybody see a held message."""

    id: EventId


class DenyChat(Command, frozen=True, tag="chat.deny"):
    """Staff: let nobody see a held message."""

    id: EventId


class ReportChat(Command, frozen=True, tag="chat.report"):
    """Tell staff that a message breaks the rules. One person's second report of it changes nothing."""

    id: EventId
    reason: Annotated[str, Meta(max_length=200)] = ""
