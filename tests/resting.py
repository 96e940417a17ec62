"""How long processes rest: not one of their threads wants a processor or a disk.

A busy machine makes everything take longer, but it makes nobody rest. So a test can say that nothing waits for a timer,
and the figure is the same on every machine.
"""

import contextlib
import time
from pathlib import Path

LOOK_S_MAX = 0.05  # more between two looks is not counted: nobody has seen it


class Resting:
    """The rest of a process and of everything below it, as far as somebody looks."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._since: float | None = None  # of the rest that goes on
        self.s = 0.0

    def look(self) -> None:
        """Call this every few milliseconds."""
        now = time.monotonic()
        if _wants(self._pid):
            self._since = None
            return
        if self._since is not None:
            self.s += min(now - self._since, LOOK_S_MAX)
        self._since = now


def _wants(pid: int) -> bool:
    """Whether a thread of this process, or of one below it, runs, could run, or waits for a disk."""
    below = []
    with contextlib.suppress(OSError):  # it has ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            state = (task / "stat").read_text().rpartition(") ")[2][0]
            if state in "RD":
                return True
            below += (task / "children").read_text().split()
    return any(_wants(int(each)) for each in below)
