"""What discovery counts. Names are Istio's where it counts the same.

Source: https://istio.io/latest/docs/reference/commands/pilot-discovery/#metrics
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from pilotfish.derive import Stats
from pilotfish.discovery.admission import Reason
from pilotfish.envoy.types import xds_type

_FAST = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 5, 10, 20, 30)


class Metrics:
    def __init__(self, stats: Stats) -> None:
        """`stats`: the graph's, exported as `pilotfish_queries_run_total`."""
        self.registry = CollectorRegistry()
        to = self.registry
        ProcessCollector(registry=to)
        self.registry.register(_Queries(stats))
        self.connected = Gauge("pilot_xds", "Number of endpoints connected to this pilot using XDS.", registry=to)
        self.services = Gauge("pilot_services", "Total services known to pilot.", registry=to)
        self.problems = Gauge("pilotfish_problems", "Problems of the user's objects.", ["severity"], registry=to)
        self.source_away = Gauge(
            "pilotfish_source_away_since_seconds",
            "Time of day since which nothing is heard of the objects' source, or 0.",
            registry=to,
        )
        self.convergence = Histogram(
            "pilot_proxy_convergence_time",
            "Seconds from a change to the last proxy's acknowledgement of all that follows from it.",
            buckets=_FAST,
            registry=to,
        )
        self.internal_errors = Counter(
            "pilot_total_xds_internal_errors", "Total number of internal XDS errors.", registry=to
        )
        self._turned_away = Counter(
            "pilotfish_xds_refused_streams",
            "Streams that were not served, or were ended, by reason.",
            ["reason"],
            registry=to,
        )
        for reason in Reason:
            self._turned_away.labels(reason=reason.value)
        self._pushes = Counter("pilot_xds_pushes", "Responses sent, by type.", ["type"], registry=to)
        self._bytes = Counter("pilotfish_xds_bytes", "Bytes of responses sent, by type.", ["type"], registry=to)
        self._rejects = Counter(
            "pilot_total_xds_rejects", "Responses that a proxy refused, by type.", ["type"], registry=to
        )
        self._took = Histogram(
            "pilotfish_xds_ack_time",
            "Seconds from a response to its acknowledgement.",
            ["type"],
            buckets=_FAST,
            registry=to,
        )

    def turned_away(self, reason: Reason) -> None:
        self._turned_away.labels(reason=reason.value).inc()

    def pushed(self, type_url: str, size: int) -> None:
        self._pushes.labels(type=_label(type_url)).inc()
        self._bytes.labels(type=_label(type_url)).inc(size)

    def refused(self, type_url: str) -> None:
        self._rejects.labels(type=_label(type_url)).inc()

    def acknowledged(self, type_url: str, seconds: float) -> None:
        self._took.labels(type=_label(type_url)).observe(seconds)


def _label(type_url: str) -> str:
    """Types that nobody knows are one: whoever asks makes them up."""
    row = xds_type(type_url)
    return row.short if row.module else "other"


class _Queries(Collector):
    """Reads the graph's counts when it is asked."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily("pilotfish_queries_run", "How often each query's function ran.", labels=["query"])
        for name, runs in sorted(self._stats.ran.items()):
            family.add_metric([name], runs)
        return [family]
