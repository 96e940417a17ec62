"""How many people watch: people by role, never sockets."""

from typing import ClassVar

from protocol.wire import Delivery, Event, Named


class ViewersCounted(Event, frozen=True, tag="viewers.counted"):
    """Viewers `now`, and `peak` and `unique` in this broadcast. `joined` is a sample of those who joined."""

    delivery: ClassVar[Delivery] = Delivery.LATEST
    now: int
    peak: int
    unique: int
    joined: tuple[Named, ...]
