"""Alerts: staff controls what the overlays show, and overlays say what they have shown."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from protocol.ids import GiftId
from protocol.wire import Command, Message, Named

Verb = Literal["pause", "resume", "mute", "unmute", "skip", "replay", "next", "clear", "test", "reset"]
Stage = Literal["received", "started", "finished", "skipped", "failed"]
ALSO_MAX = 50  # gifts of one alert that an acknowledgement may name: a longer streak says the newest


class ControlAlerts(Command, frozen=True, tag="alerts.control"):
    """Staff: control the alerts of all overlays of the room.

    `id` is for `replay` (the gift to show again; none: the last one) and for `skip` (only if it is this one).
    """

    verb: Verb
    id: GiftId | None = None


class AckAlert(Command, frozen=True, tag="alerts.ack"):
    """An overlay: how far the alert of this gift is.

    `also` are the other gifts that it shows. `queued` is how many alerts wait.
    """

    for_listeners: ClassVar[bool] = True
    id: GiftId
    stage: Stage
    also: Annotated[tuple[GiftId, ...], Meta(max_length=ALSO_MAX)] = ()
    queued: Annotated[int, Meta(ge=0, le=100_000)] = 0


class AlertsControlled(Message, frozen=True, kw_only=True, tag="alerts.controlled"):
    """To overlays: do this now. `reload` comes from the server alone, to an overlay that no longer answers."""

    verb: str
    id: str | None = None
    by: Named | None = None


class AlertsStatus(Message, frozen=True, kw_only=True, tag="alerts.status"):
    """To staff: how the overlays of the room are.

    `silent_ms` is for how long one of them owes an answer, 0 if none does. `queued` is the longest queue.
    `playing` is the gift that is being shown.
    """

    overlays: int
    silent_ms: int
    queued: int
    playing: str | None
