"""Latencies by name, in HdrHistograms: one for the whole run and one for the present second."""

from hdrh.histogram import HdrHistogram

from loadtest.results import Quantiles

LEAST_US, MOST_US, DIGITS = 1, 300_000_000, 3
NAMES = ("command to reply", "gift to shown", "event to received")


def empty() -> HdrHistogram:
    return HdrHistogram(LEAST_US, MOST_US, DIGITS)


def quantiles(histogram: HdrHistogram, *, whole: bool) -> Quantiles:
    """Its figures in ms; with the histogram itself when `whole`."""

    def at(percentile: float) -> float:
        return round(float(histogram.get_value_at_percentile(percentile)) / 1000, 3)

    return Quantiles(
        count=int(histogram.get_total_count()),
        p50=at(50),
        p90=at(90),
        p99=at(99),
        p999=at(99.9),
        max=round(float(histogram.get_max_value()) / 1000, 3),
        hdr=histogram.encode().decode() if whole else "",
    )


class Recorder:
    """What one process measures in one second; the parent adds them up."""

    def __init__(self) -> None:
        self._of = {name: empty() for name in NAMES}

    def record(self, name: str, ns: int, times: int = 1) -> None:
        self._of[name].record_value(min(max(LEAST_US, ns // 1000), MOST_US), times)

    def take(self) -> dict[str, str]:
        """What was recorded since the last time, encoded."""
        found = {}
        for name, histogram in self._of.items():
            if histogram.get_total_count():
                found[name] = histogram.encode().decode()
                histogram.reset()
        return found


class Recorded:
    """Latencies of all processes: of the run, and of a second while it is being told."""

    def __init__(self) -> None:
        self.total = {name: empty() for name in NAMES}

    def add(self, told: list[dict[str, str]]) -> dict[str, Quantiles]:
        """One second of every process: its quantiles."""
        second: dict[str, HdrHistogram] = {}
        for each in told:
            for name, encoded in each.items():
                part = HdrHistogram.decode(encoded)
                second.setdefault(name, empty()).add(part)
                self.total[name].add(part)
        return {name: quantiles(histogram, whole=False) for name, histogram in second.items()}

    def quantiles(self) -> dict[str, Quantiles]:
        return {name: quantiles(each, whole=True) for name, each in self.total.items() if each.get_total_count()}
