"""Levels of gifters: what somebody has given in a lifetime."""

from typing import ClassVar

from protocol.wire import Delivery, Event, Named


class LevelReached(Event, frozen=True, tag="levels.reached"):
    """Somebody has a higher level than ever. It comes once, in the room of a gift that brought it."""

    delivery: ClassVar[Delivery] = Delivery.KEPT
    user: Named
    level: int
