"""A node's metrics for Prometheus. They are read from the parts on request, so hot paths count nothing twice."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Readings(Collector):
    """Gauges and counters by name, help and a function that reads them."""

    def __init__(self) -> None:
        self._gauges: list[tuple[str, str, Callable[[], float]]] = []
        self._counters: list[tuple[str, str, Callable[[], float]]] = []

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        self._gauges.append((f"liveroom_{name}", text, read))

    def counter(self, name: str, text: str, read: Callable[[], float]) -> None:
        self._counters.append((f"liveroom_{name}", text, read))

    def collect(self) -> Iterator[Metric]:
        for name, text, read in self._gauges:
            yield GaugeMetricFamily(name, text, value=read())
        for name, text, read in self._counters:
            yield CounterMetricFamily(name, text, value=read())


def registry(*collectors: Collector) -> CollectorRegistry:
    """A registry with these collectors, and the process's own metrics."""
    made = CollectorRegistry()
    for collector in collectors:
        made.register(collector)
    ProcessCollector(registry=made)
    GCCollector(registry=made)
    return made
