"""Gifts: the catalogue entry, the command, and the events. Counts in events are deltas, so their sum is the total."""

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from protocol.ids import CatalogueId, ComboId, GiftId, UserId
from protocol.refusals import Reason
from protocol.wire import Command, Delivery, Event, Ok, SnapshotPart, User

MESSAGE_CHARS_MAX = 200
REGION = r"^[A-Z]{2}$(?!\n)"  # ISO 3166-1
ANONYMOUS = User(user_id="anonymous", name="", badges=("anonymous",))  # who gave, to everybody but the operator


class GiftsRefusal(Reason):
    """The reasons of the catalogue's limits, and of messages."""

    REGION_NOT_ALLOWED = "region_not_allowed", "This gift is not sold in your region."
    ADULTS_ONLY = "adults_only", "This gift is for adults only."
    LEVEL_TOO_LOW = "level_too_low", "Your level is too low for this gift."
    MESSAGE_NEEDS_COINS = "message_needs_coins", "This gift is too small for a message in this room."


class Animation(Struct, frozen=True):
    """How a gift is shown."""

    kind: Literal["float", "burst", "ride", "fullscreen"]
    url: str
    duration_ms: Annotated[int, Meta(ge=100, le=60_000)]


class Gift(Struct, frozen=True):
    """An entry of the catalogue: `coins` is what a viewer pays, `diamonds` what the creator is credited."""

    id: CatalogueId
    name: Annotated[str, Meta(min_length=1, max_length=40)]
    coins: Annotated[int, Meta(ge=1, le=100_000)]
    diamonds: Annotated[int, Meta(ge=0, le=100_000)]
    tier: Annotated[int, Meta(ge=1, le=4)]
    streakable: bool
    animation: Animation
    pin_s: Annotated[int, Meta(ge=0, le=3_600)] = 0  # how long it pins itself
    regions: Annotated[tuple[Annotated[str, Meta(pattern=REGION)], ...], Meta(max_length=250)] = ()  # none: everywhere
    min_level: Annotated[int, Meta(ge=0, le=1_000)] = 0
    adult: bool = False  # for adults only


class ShownGift(Struct, frozen=True):
    """The catalogue entry, as an event shows it."""

    id: str
    name: str
    coins: int
    tier: int
    animation: Animation


class Combo(Struct, frozen=True):
    """A streak: `count` is the running total of its gifts."""

    id: str
    count: int


class SendGift(Command, frozen=True, tag="gifts.send"):
    """Send a gift. The same `id` again is the same gift, and is paid once."""

    always_answered: ClassVar[bool] = True
    id: GiftId
    gift: CatalogueId
    count: Annotated[int, Meta(ge=1, le=9_999)]
    to: UserId | None = None
    combo: ComboId | None = None
    message: Annotated[str, Meta(min_length=1, max_length=MESSAGE_CHARS_MAX)] | None = None
    anonymous: bool = False


class TestGift(Command, frozen=True, tag="gifts.test"):
    """The host: see how a gift looks. It costs nothing, and only staff and overlays get it."""

    gift: CatalogueId
    count: Annotated[int, Meta(ge=1, le=9_999)] = 1


class SendGiftOk(Ok, frozen=True, tag="ok"):
    """Debited, credited and on disk. `coins` is the balance after it, `entry` its place in the ledger.

    `message_left_out` is the reason for which the room gets the gift without its message.
    """

    id: str
    duplicate: bool
    coins: int
    combo: Combo | None
    entry: str
    message_left_out: str | None = None


class GiftSent(Event, frozen=True, tag="gifts.sent"):
    """A gift was paid: `count`, `coins`, `diamonds` are of this event alone. `id` is the command's gift id."""

    delivery: ClassVar[Delivery] = Delivery.KEPT
    from_: User = field(name="from")
    to: User
    gift: ShownGift
    count: int
    coins: int
    diamonds: int
    message: str | None
    test: bool
    combo: Combo | None
    received_at_ms: int = 0  # when the command came in, and when its money was on disk; 0 in events of older programs
    settled_at_ms: int = 0


class GiftRef(Struct, frozen=True):
    """A gift by its catalogue id."""

    id: str


class GiftComboEnded(Event, frozen=True, tag="gifts.combo_ended"):
    """A streak is over. This is only for display: the sums are in the gifts."""

    delivery: ClassVar[Delivery] = Delivery.KEPT
    combo: Combo
    from_: User = field(name="from")
    to: User
    gift: GiftRef
    coins: int


class GiftRefunded(Event, frozen=True, tag="gifts.refunded"):
    """A gift of this broadcast, or a part of it, was taken back. Totals and boards go down by it.

    `count` is how many whole ones of the catalogue's `gift` these coins were.
    """

    delivery: ClassVar[Delivery] = Delivery.KEPT
    gift_id: str
    coins: int
    diamonds: int
    reason: Literal["refund", "chargeback"]
    gift: GiftRef | UnsetType = UNSET
    count: int = 0


class ThankGift(Command, frozen=True, tag="gifts.thank"):
    """The host: thank for a gift of this broadcast. A second thanks changes nothing."""

    gift_id: GiftId


class GiftThanked(Event, frozen=True, tag="gifts.thanked"):
    """The host has thanked `user` for a gift."""

    delivery: ClassVar[Delivery] = Delivery.KEPT
    gift_id: str
    user: User
    gift: GiftRef
    count: int


class OpenCombo(Struct, frozen=True, kw_only=True):
    """A streak that still runs."""

    id: str
    count: int
    from_: User = field(name="from")
    to: User
    gift: GiftRef
    coins: int


class GiftsPart(SnapshotPart, frozen=True, kw_only=True):
    """The running streaks, for newcomers."""

    open_combos: tuple[OpenCombo, ...] = ()
