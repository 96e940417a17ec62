"""Custom events: what the host platform, or a rule of the room, tells everybody in it."""

from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.ids import UserId
from protocol.refusals import Reason
from protocol.wire import Event, User

EventName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)", description="1-64 of A-Za-z0-9_.-")]


class CustomRefusal(Reason):
    """The reasons of custom events."""

    BANNED = "banned", "This person is banned from the room."


class Cause(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The gift whose rule did something, its coins in all, and who gave it, as the room sees them."""

    gift_id: str
    gift: str
    count: int
    coins: int
    from_: User


class CustomSent(Event, frozen=True, kw_only=True, tag="custom.sent"):
    """What this site's own pages and overlays understand. Under load it may be dropped, unless it is `kept`.

    A rule of the room also says its `cause`, and its `action` if the event is for overlays' scenes or for the platform.
    """

    says_kept: ClassVar[bool] = True
    kept: bool = True
    name: EventName
    user_id: UserId | None = None
    data: dict[str, Any]
    action: Literal["scene", "webhook"] | UnsetType = UNSET
    cause: Cause | UnsetType = UNSET
