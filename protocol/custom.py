"""Custom events: what the host platform, or a rule of the room, tells everybody in it."""

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from protocol.ids import UserId
from protocol.refusals import Reason
from protocol.wire import Event

EventName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)", description="1-64 of A-Za-z0-9_.-")]


class CustomRefusal(Reason):
    """The reasons of custom events."""

    BANNED = "banned", "This person is banned from the room."


class CustomSent(Event, frozen=True, kw_only=True, tag="custom.sent"):
    """What this site's own pages and overlays understand. Under load it may be dropped, unless it is `kept`."""

    says_kept: ClassVar[bool] = True
    kept: bool = True
    name: EventName
    user_id: UserId | None = None
    data: dict[str, Any]
