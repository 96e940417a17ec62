"""The time since the machine's start, which tests can let pass."""

import time


class BootTime:
    """Goes on like the real one, and jumps ahead when a test lets time pass."""

    def __init__(self) -> None:
        self._passed_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._passed_s

    def let_pass(self, seconds: float) -> None:
        self._passed_s += seconds
