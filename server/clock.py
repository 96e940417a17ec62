"""The one clock: made in `app`, passed to everything that needs the time."""

from collections.abc import Callable

from protocol.ids import uuid7


class Clock:
    """The one source of time: wall clock for what people see, the loop's for waiting."""

    def __init__(self, wall_s: Callable[[], float]) -> None:
        self._wall_s = wall_s

    def now_ms(self) -> int:
        return int(self._wall_s() * 1000)

    def new_id(self) -> str:
        return uuid7(self.now_ms())
