"""One page of metrics from three: the agent's own, Envoy's, and the app's.

Source: https://istio.io/latest/docs/ops/integrations/prometheus/#option-1-metrics-merging
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pilotfish.envoy.naming import counted_as

_EVERYWHERE: Final = "0.0.0.0_"
"""How the name begins of a listener on all addresses."""


@dataclass(frozen=True, slots=True)
class ScrapeTarget:
    """Where the app serves its own metrics: the annotations prometheus.io/port, /path and /scheme."""

    port: int
    path: str = "/metrics"
    scheme: str = "http"

    @classmethod
    def from_annotations(cls, annotations: Mapping[str, str]) -> ScrapeTarget | None:
        """None unless `prometheus.io/scrape` is "true". The port is 80 where none is stated, as in Istio.

        Raises ValueError for a port that is no port.
        """
        if annotations.get("prometheus.io/scrape") != "true":
            return None
        stated = annotations.get("prometheus.io/port") or "80"
        if not stated.isdecimal() or not 0 < int(stated) < 65536:
            raise ValueError(f"prometheus.io/port: {stated!r} is not a port (1 to 65535)")
        path = annotations.get("prometheus.io/path") or "/metrics"
        return cls(int(stated), path, annotations.get("prometheus.io/scheme") or "http")


@dataclass(frozen=True, slots=True)
class AgentFigures:
    """What an agent counts about itself."""

    ready: bool
    epoch: int
    restarts: int
    startup_seconds: float | None
    """From the first start of Envoy to its first readiness; None until then."""
    dns_queries: int
    dns_forwarded: int
    dns_failures: int
    dns_names: int
    scrapes: int
    scrape_failures: Mapping[str, int]
    """By what was scraped: `envoy`, `application`."""


def render_figures(figures: AgentFigures) -> str:
    """The agent's own metrics in Prometheus' text format."""
    f = figures
    lines = [
        *_metric("pilotfish_agent_ready", "gauge", "1 if Envoy is ready for traffic.", int(f.ready)),
        *_metric("pilotfish_agent_envoy_epoch", "gauge", "How many times Envoy was started, from 0.", f.epoch),
        *_metric("pilotfish_agent_envoy_restarts_total", "counter", "Restarts after Envoy ended.", f.restarts),
        *_metric("pilotfish_agent_dns_names", "gauge", "Names in the table from discovery.", f.dns_names),
        *_metric("istio_agent_dns_requests_total", "counter", "DNS queries received.", f.dns_queries),
        *_metric("istio_agent_dns_upstream_requests_total", "counter", "DNS queries forwarded.", f.dns_forwarded),
        *_metric("istio_agent_dns_upstream_failures_total", "counter", "Forwarded and not answered.", f.dns_failures),
        *_metric("istio_agent_scrapes_total", "counter", "Scrapes of the merged metrics.", f.scrapes),
    ]
    if f.startup_seconds is not None:
        what = "From Envoy's start to readiness."
        lines += _metric("istio_agent_startup_duration_seconds", "gauge", what, round(f.startup_seconds, 6))
    lines += ["# HELP istio_agent_scrape_failures_total Scrapes that failed, by what was scraped."]
    lines += ["# TYPE istio_agent_scrape_failures_total counter"]
    for kind, count in sorted(f.scrape_failures.items()):
        lines.append(f'istio_agent_scrape_failures_total{{type="{kind}"}} {count}')
    return "\n".join(lines) + "\n"


def merge(*pages: str) -> str:
    """The pages one after the other, each ending its line; OpenMetrics' end mark would hide all that follows it."""
    merged = []
    for page in pages:
        body = page.rstrip("\n").removesuffix("# EOF").rstrip("\n")
        if body:
            merged.append(body + "\n")
    return "".join(merged)


def as_own(page: str, pod: str) -> str:
    """What a machine's proxy counts of one pod (`webapp-0.vm`), as a proxy of the pod's own would call it."""
    ours = re.compile(rf'(?<=listener_address="){re.escape(counted_as(pod, 0)[:-1])}(?=\d+")')
    return ours.sub(_EVERYWHERE, page)


def _metric(name: str, kind: str, text: str, value: float) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {value}"]
