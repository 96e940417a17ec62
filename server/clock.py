"""The clocks: made where a process is put together, passed to everything that needs the time."""

import time
from collections.abc import Callable
from pathlib import Path

from protocol.ids import uuid7


def _boot_s() -> float:
    """Seconds since the machine started, also those while it was suspended. Nobody can set this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """The one source of time: wall clock for what people see, the loop's for waiting.

    `boot_s` is for promises between machines: it counts the seconds of this one, suspended or not.
    """

    def __init__(self, wall_s: Callable[[], float], boot_s: Callable[[], float] = _boot_s) -> None:
        self._wall_s = wall_s
        self.boot_s = boot_s

    def now_ms(self) -> int:
        return int(self._wall_s() * 1000)

    def new_id(self) -> str:
        return uuid7(self.now_ms())


class Uptime:
    """How long the machine has run, also while it was suspended. No jump of the wall clock changes it."""

    def __init__(self, boot: str | None = None, read_ms: Callable[[], int] | None = None) -> None:
        self.boot = _boot_id() if boot is None else boot  # two values compare only within one run of one machine
        self.now_ms = read_ms or _since_boot_ms


def _since_boot_ms() -> int:
    return int(_boot_s() * 1000)


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
