"""The room's boards of gifters: who gave most, in this broadcast, today, this week, and ever."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from protocol.wire import Command, Delivery, Event, Named, Ok, Rank

Window = Literal["broadcast", "day", "week", "all"]
By = Literal["sum", "single"]
BoardLimit = Annotated[int, Meta(ge=1, le=100)]


class GetBoard(Command, frozen=True, tag="board.get"):
    """The first places of a window: by all that somebody gave in it, or by their largest gift."""

    window: Window = "broadcast"
    by: By = "sum"
    limit: BoardLimit = 10


class Place(Struct, frozen=True, kw_only=True):
    """Your own place. `behind` is how many coins the next place has more; null if there is none."""

    rank: int | None
    coins: int
    behind: int | None


class GetBoardOk(Ok, frozen=True, kw_only=True, tag="ok"):
    """The first places, and yours."""

    top: tuple[Rank, ...]
    you: Place


class BoardChanged(Event, frozen=True, tag="board.changed"):
    """The first places, by coins given in this broadcast."""

    delivery: ClassVar[Delivery] = Delivery.LATEST
    top: tuple[Rank, ...]


class BoardClimbed(Event, frozen=True, tag="board.climbed"):
    """Somebody has come among the first three of this broadcast."""

    user: Named
    rank: int
