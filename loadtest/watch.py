"""What the server's processes use while it is measured: cores, memory, how late its loop is. On this machine only."""

import contextlib
import re
import time
import urllib.request

from loadtest.processes import Served, cpu_s, rss_kib
from loadtest.results import Usage

NAMES = {"node": "server node", "journal": "server journal", "wallet store": "wallet.sock", "room store": "room.sock"}
LAG = re.compile(r'^liveroom_loop_lag_seconds_bucket{le="(\S+)"} (\S+)$', re.MULTILINE)


class Watch:
    """Asked once a second."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._before: dict[str, tuple[int, float]] = {}  # pid, CPU seconds
        self._at = time.monotonic()
        self._lags: dict[float, float] = {}

    def look(self) -> tuple[dict[str, Usage], float | None]:
        """What each process used since the last look, and the bound under which 99 of 100 samples of lag are, in ms."""
        now = time.monotonic()
        passed_s, self._at = max(0.001, now - self._at), now
        found = {}
        for name, title in NAMES.items():
            with contextlib.suppress(OSError, RuntimeError, StopIteration):  # it is being started again
                pid = self._served.pid_of(title)
                used_s = cpu_s(pid)
                before = self._before.get(name)
                cores = (used_s - before[1]) / passed_s if before is not None and before[0] == pid else 0.0
                self._before[name] = (pid, used_s)
                found[name] = Usage(round(cores, 3), round(rss_kib(pid) / 1024, 1))
        return found, self._lag()

    def _lag(self) -> float | None:
        try:
            now = lags(self._served.url)
        except OSError:
            return None
        before, self._lags = self._lags, now
        return p99_ms(before, now) if before else None


def lags(url: str) -> dict[float, float]:
    """How often the node's loop was late, by its own account: samples so far up to each bound in seconds."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        return {float(bound): float(count) for bound, count in LAG.findall(answer.read().decode())}


def p99_ms(before: dict[float, float], after: dict[float, float]) -> float | None:
    """The least bound that holds 99 of 100 samples in between."""
    counts = {bound: count - before.get(bound, 0.0) for bound, count in after.items()}
    most = max(counts.values(), default=0)
    if most <= 0:
        return None
    return min((bound for bound, count in counts.items() if count >= 0.99 * most), default=0.0) * 1000
