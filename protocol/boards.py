"""The room's board of gifters."""

from typing import ClassVar

from protocol.wire import Delivery, Event, Rank


class BoardChanged(Event, frozen=True, tag="board.changed"):
    """The first places, by coins given in this broadcast."""

    delivery: ClassVar[Delivery] = Delivery.LATEST
    top: tuple[Rank, ...]
