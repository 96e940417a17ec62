"""Custom events: what the host platform tells a room in its own words."""

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from protocol.ids import UserId
from protocol.refusals import Reason
from protocol.wire import Event

CustomName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)", description="1-64 of A-Za-z0-9_.-")]


class CustomRefusal(Reason):
    """The reasons of custom events."""

    BANNED = "banned", "This person is banned from the room."


class CustomSent(Event, frozen=True, kw_only=True, tag="custom.sent"):
    """The platform's own event. One that is not `kept` may be dropped under load, as chat is."""

    says_kept: ClassVar[bool] = True
    kept: bool = True
    name: CustomName
    user_id: UserId | None = None
    data: dict[str, Any]
