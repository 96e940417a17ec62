"""Custom events: what the host platform, or a rule of the room, tells everybody in it."""

from typing import Annotated, Any

from msgspec import Meta

from protocol.wire import Event

CustomName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)", description="1-64 of A-Za-z0-9_.-")]


class CustomSent(Event, frozen=True, kw_only=True, tag="custom.sent"):
    """Something that this site's own pages and overlays understand."""

    name: CustomName
    data: dict[str, Any]
