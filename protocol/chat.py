"""Chat: one command, one event."""

from typing import Annotated, ClassVar

from msgspec import UNSET, Meta, UnsetType

from protocol.wire import Command, Delivery, Event, Ok, User

TEXT_CHARS_MAX = 500


class SendChat(Command, frozen=True, tag="chat.send"):
    """Say something to the room."""

    text: Annotated[str, Meta(min_length=1, max_length=TEXT_CHARS_MAX)]


class SendChatOk(Ok, frozen=True, tag="ok"):
    """The message has this `seq` in the room's history. A `hidden` one was over the room's budget: nobody saw it."""

    id: str
    seq: int
    hidden: bool | UnsetType = UNSET


class ChatSent(Event, frozen=True, tag="chat.sent"):
    """Somebody said something."""

    delivery: ClassVar[Delivery] = Delivery.DROPPABLE
    user: User
    text: str


class ChatDeleted(Event, frozen=True, tag="chat.deleted"):
    """Messages are gone: those with these ids, and all that these people have said so far. Show them no more."""

    ids: tuple[str, ...]
    user_ids: tuple[str, ...]
    by: str
