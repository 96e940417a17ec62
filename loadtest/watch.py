"""What the server's processes use during a run: cores, memory, lag of the event loop. Only on this machine."""

import contextlib
import re
import time
import urllib.request

from loadtest.processes import Served, cpu_s, rss_kib
from loadtest.results import Usage

NAMES = {"node": "server node", "journal": "server journal", "wallet store": "wallet.sock", "room store": "room.sock"}
LAG = re.compile(r'^liveroom_loop_lag_seconds_bucket{le="(\S+)"} (\S+)$', re.MULTILINE)


class Watch:
    """Call `look` once a second."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._before: dict[int, float] = {}  # CPU seconds by pid
        self._at = time.monotonic()
        self._lags: dict[float, float] = {}

    def look(self) -> tuple[dict[str, Usage], float | None]:
        """What each process used since the last call, and the p99 of the loop's lag in ms."""
        now = time.monotonic()
        passed_s, self._at = max(0.001, now - self._at), now
        found, used = {}, dict[int, float]()
        for name, title in NAMES.items():
            pids, rss = self._served.pids_of(title), 0
            for pid in pids:
                with contextlib.suppress(OSError, StopIteration):  # it may just have ended
                    used[pid] = cpu_s(pid)
                    rss += rss_kib(pid)
            more_s = sum(used[pid] - self._before.get(pid, used[pid]) for pid in pids if pid in used)
            found[name] = Usage(round(more_s / passed_s, 3), round(rss / 1024, 1))
        self._before = used
        return found, self._lag()

    def _lag(self) -> float | None:
        try:
            now = lags(self._served.url)
        except OSError:
            return None
        before, self._lags = self._lags, now
        return p99_ms(before, now) if before else None


def counter(url: str, name: str) -> float:
    """The value of a counter in the node's metrics."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found is not None else 0.0


def lags(url: str) -> dict[float, float]:
    """The lag of the node's loop, from its metrics: number of samples so far up to each bound in seconds."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        return {float(bound): float(count) for bound, count in LAG.findall(answer.read().decode())}


def p99_ms(before: dict[float, float], after: dict[float, float]) -> float | None:
    """The smallest bound that covers 99 of 100 samples between the two readings; None without samples."""
    counts = {bound: count - before.get(bound, 0.0) for bound, count in after.items()}
    most = max(counts.values(), default=0)
    if most <= 0:
        return None
    return min((bound for bound, count in counts.items() if count >= 0.99 * most), default=0.0) * 1000
