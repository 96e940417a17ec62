"""Likes: counted by user, and shown as totals."""

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from protocol.refusals import Reason
from protocol.wire import Command, Delivery, Event, Named


class LikesRefusal(Reason):
    """The reasons of likes."""

    LIKES_OFF = "likes_off", "Likes are switched off in this room."


class SendLikes(Command, frozen=True, tag="likes.send"):
    """Some taps on the heart."""

    count: Annotated[int, Meta(ge=1, le=50)]


class Liker(Struct, frozen=True):
    """A person, and how often they liked in this broadcast."""

    user: Named
    count: int


class LikesCounted(Event, frozen=True, tag="likes.counted"):
    """`added` since the last such event, `total` in this broadcast."""

    delivery: ClassVar[Delivery] = Delivery.LATEST
    added: int
    total: int
    top: tuple[Liker, ...]
