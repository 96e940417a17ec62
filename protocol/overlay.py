"""The overlay: what the streamer wants it to show, and where."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from protocol.ids import CatalogueId
from protocol.refusals import Reason
from protocol.wire import Command, Message

Place = Literal["center", "top", "bottom", "left", "right", "top-left", "top-right", "bottom-left", "bottom-right"]
WidgetKind = Literal["alerts", "goal", "board", "chat", "combo", "viewers", "ticker", "poll"]
Percent = Annotated[int, Meta(ge=0, le=100)]
Coins = Annotated[int, Meta(ge=0, le=1_000_000_000)]
_ADDRESS = r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/[!-~]*|/web/[A-Za-z0-9_./-]+"  # of an origin that the operator allows
Media = Annotated[str, Meta(pattern=rf"^({_ADDRESS})$(?!\n)", max_length=500)]
Sound = Annotated[str, Meta(pattern=rf"^(none|chime|pop|fanfare|{_ADDRESS})$(?!\n)", max_length=500)]
ShownMs = Annotated[int, Meta(ge=500, le=60_000)]
VARIANTS_MAX = 32  # more nobody can oversee, and each gift looks through all
WIDGETS_MAX = 8


class OverlayRefusal(Reason):
    """The reasons of overlays."""

    MEDIA_NOT_ALLOWED = "media_not_allowed", "Media may not come from this address."
    UNKNOWN_OVERLAY = "unknown_overlay", "There is no such overlay."
    TOO_MANY_OVERLAYS = "too_many_overlays", "This room has as many overlays as it may have."


class Widget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A widget, and where it stands."""

    kind: WidgetKind
    place: Place = "center"
    scale: Annotated[int, Meta(ge=25, le=300)] = 100  # percent


class Variant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How alerts of some gifts differ: of this gift, of this tier, from so many coins on. The first that fits counts.

    What is not said is as for all. `show` false: no alert.
    """

    gift: CatalogueId | None = None
    tier: Annotated[int, Meta(ge=1, le=4)] | None = None
    min_coins: Coins = 0
    show: bool = True
    duration_ms: ShownMs | None = None
    animation: Literal["float", "burst", "ride", "fullscreen"] | None = None
    media: Media | None = None
    sound: Sound | None = None
    volume: Percent | None = None
    message: bool | None = None


class OverlaySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the overlays of a room show. `min_coins` is for alerts, `big_coins` for the ticker."""

    widgets: Annotated[tuple[Widget, ...], Meta(max_length=WIDGETS_MAX)] = (Widget(kind="alerts"),)
    theme: Literal["dark", "light", "clear"] = "dark"
    font: Literal["sans", "rounded", "serif", "mono", "hand"] = "sans"
    veil: Percent = 100  # how dark large alerts make the picture
    min_coins: Coins = 0
    big_coins: Coins = 100
    duration_ms: ShownMs | None = None  # None: as long as the gift's animation
    sound: Sound = "none"
    volume: Percent = 60
    message: bool = True
    delay_ms: Annotated[int, Meta(ge=0, le=30_000)] = 0  # between two alerts
    age_s: Annotated[int, Meta(ge=10, le=3_600)] = 180  # an alert that has waited for longer is not shown
    merge_s: Annotated[int, Meta(ge=0, le=60)] = 10  # gifts of one sender that wait are one alert if they came within
    priority: Literal["size", "order"] = "size"
    variants: Annotated[tuple[Variant, ...], Meta(max_length=VARIANTS_MAX)] = ()


class SetOverlay(Command, frozen=True, tag="overlay.set"):
    """The host: what the overlays show from now on."""

    settings: OverlaySettings


class OverlayChanged(Message, frozen=True, kw_only=True, tag="overlay.changed"):
    """To overlays and staff, on joining and after each change: how the room's overlays are set.

    `cleared_ms` is when the queue was last cleared: alerts from before are not shown.
    """

    version: int
    settings: OverlaySettings
    paused: bool
    muted: bool
    cleared_ms: int
