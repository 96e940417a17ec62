"""Pins: messages and gifts that stay in sight. Big gifts pin themselves."""

from typing import Any

from msgspec import Struct

from protocol.refusals import Reason
from protocol.wire import Named, SnapshotPart


class PinsRefusal(Reason):
    """The reasons of pins."""

    UNKNOWN_EVENT = "unknown_event", "The room has no such message or gift, or it is too old."
    TOO_MANY_PINS = "too_many_pins", "The room has too many pins; take one off first."


class Pin(Struct, frozen=True, kw_only=True):
    """A pinned chat or gift, as its event was. `by` is null if it pinned itself, `until_ms` without an end."""

    id: str
    event: dict[str, Any]
    by: Named | None
    until_ms: int | None


class Pins(SnapshotPart, frozen=True, kw_only=True):
    """The pins of this broadcast, the oldest first."""

    pins: tuple[Pin, ...] = ()
