"""Applause: claps are counted, and gifts are clapped to."""

from typing import Annotated, ClassVar

from msgspec import Meta

from protocol.refusals import Reason
from protocol.wire import Command, Delivery, Event, Ok, SnapshotPart


class ApplauseRefusal(Reason):
    """Why somebody may not clap."""

    HANDS_TIRED = "hands_tired", "Your hands need a rest until the next broadcast."


class Clap(Command, frozen=True, tag="applause.clap"):
    """Some claps."""

    count: Annotated[int, Meta(ge=1, le=10)] = 1


class ClapOk(Ok, frozen=True, tag="ok"):
    """They count; `left` are this person's in the broadcast."""

    left: int


class ApplauseCounted(Event, frozen=True, tag="applause.counted"):
    """All claps of this broadcast."""

    delivery: ClassVar[Delivery] = Delivery.LATEST
    total: int


class ApplausePart(SnapshotPart, frozen=True, kw_only=True):
    """All claps of this broadcast."""

    applause: int = 0
