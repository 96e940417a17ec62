"""Custom events: what the host platform, or a rule of the room, tells everybody in it."""

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from protocol.wire import Delivery, Event

DATA_BYTES_MAX = 2_000  # of `data` as JSON
EventName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)", description="1-64 of A-Za-z0-9_.-")]


class CustomSent(Event, frozen=True, tag="custom.sent"):
    """Something that this site's own pages and overlays understand."""

    delivery: ClassVar[Delivery] = Delivery.KEPT
    name: EventName
    data: dict[str, Any]
