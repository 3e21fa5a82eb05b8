"""One page from three."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pilotfish.agent.metrics import AgentFigures, ScrapeTarget, as_own, merge, render_figures

FIGURES = AgentFigures(
    ready=True,
    epoch=2,
    restarts=2,
    startup_seconds=0.25,
    dns_queries=5,
    dns_forwarded=1,
    dns_failures=0,
    dns_names=3,
    scrapes=1,
    scrape_failures={"application": 1, "envoy": 0},
)


def test_prometheus_reads_the_agent_s_own() -> None:
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(render_figures(FIGURES))
        for sample in family.samples
    }
    assert values[("pilotfish_agent_ready",)] == 1
    assert values[("pilotfish_agent_envoy_restarts_total",)] == 2
    assert values[("istio_agent_startup_duration_seconds",)] == 0.25
    assert values[("istio_agent_scrape_failures_total", "application")] == 1


def test_an_app_s_end_mark_does_not_hide_what_follows() -> None:
    assert merge("a 1\n", "", "b 2\n# EOF\n", "c 3") == "a 1\nb 2\nc 3\n"


@pytest.mark.parametrize(
    ("annotations", "target"),
    [
        ({}, None),
        ({"prometheus.io/scrape": "false", "prometheus.io/port": "1"}, None),
        ({"prometheus.io/scrape": "true"}, ScrapeTarget(80)),
        (
            {"prometheus.io/scrape": "true", "prometheus.io/port": "9000", "prometheus.io/path": "/m"},
            ScrapeTarget(9000, "/m"),
        ),
    ],
)
def test_scrape_target(annotations: dict[str, str], target: ScrapeTarget | None) -> None:
    assert ScrapeTarget.from_annotations(annotations) == target


@pytest.mark.parametrize("port", ["web", "0", "65536", "-1"])
def test_a_port_that_is_none(port: str) -> None:
    with pytest.raises(ValueError, match=r"prometheus\.io/port"):
        ScrapeTarget.from_annotations({"prometheus.io/scrape": "true", "prometheus.io/port": port})


def test_what_a_machines_proxy_counts_of_a_pod_has_the_names_that_a_sidecar_gives_it() -> None:
    page = 'envoy_listener_downstream_cx_total{listener_address="web-0.vm_15006"} 3\n'
    assert as_own(page, "web-0.vm") == page.replace("web-0.vm_15006", "0.0.0.0_15006")
    assert as_own(page, "b-0.vm") == as_own(page, "webx0.vm") == page
