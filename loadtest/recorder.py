"""Latencies by name, in HdrHistograms: one for the whole run and one for the current second."""

from hdrh.histogram import HdrHistogram

from loadtest.results import Quantiles

LEAST_US, MOST_US, DIGITS = 1, 300_000_000, 3
NAMES = ("command to reply", "gift to shown", "event to received")


def empty() -> HdrHistogram:
    return HdrHistogram(LEAST_US, MOST_US, DIGITS)


def quantiles(histogram: HdrHistogram, *, whole: bool) -> Quantiles:
    """Its quantiles in ms; with the histogram itself if `whole`."""

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
    """The latencies of one process in one second; the parent adds them up."""

    def __init__(self) -> None:
        self._of = {name: empty() for name in NAMES}

    def record(self, name: str, ns: int, times: int = 1) -> None:
        self._of[name].record_value(min(max(LEAST_US, ns // 1000), MOST_US), times)

    def take(self) -> dict[str, str]:
        """Returns the histograms since the last call, encoded, and resets them."""
        found = {}
        for name, histogram in self._of.items():
            if histogram.get_total_count():
                found[name] = histogram.encode().decode()
                histogram.reset()
        return found


class Recorded:
    """The latencies of all processes, added up."""

    def __init__(self) -> None:
        self.total = {name: empty() for name in NAMES}

    def add(self, parts: list[dict[str, str]]) -> dict[str, Quantiles]:
        """Add one second of every process. Returns the quantiles of that second."""
        second: dict[str, HdrHistogram] = {}
        for part in parts:
            for name, encoded in part.items():
                histogram = HdrHistogram.decode(encoded)
                second.setdefault(name, empty()).add(histogram)
                self.total[name].add(histogram)
        return {name: quantiles(histogram, whole=False) for name, histogram in second.items()}

    def quantiles(self) -> dict[str, Quantiles]:
        return {name: quantiles(each, whole=True) for name, each in self.total.items() if each.get_total_count()}
