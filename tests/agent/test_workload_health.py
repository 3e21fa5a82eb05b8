"""When a workload becomes healthy and when it no longer is."""

from __future__ import annotations

import pytest

from pilotfish.agent.workload_health import Health, WorkloadProbe
from pilotfish.config.istio.workload_group import HTTPHealthCheckConfig, ReadinessProbe


@pytest.mark.parametrize(
    ("results", "states"),
    [
        ("+", "+"),
        ("-+", "-+"),
        ("+-+", "+++"),
        ("+--", "++-"),
        ("+--+-+", "++-+++"),
    ],
)
def test_so_many_in_a_row_change_it(results: str, states: str) -> None:
    health = Health(WorkloadProbe(failures=2))
    seen = ""
    for result in results:
        health.note(result == "+")
        seen += "+" if health.healthy else "-"
    assert seen == states


def test_it_may_take_several_successes() -> None:
    health = Health(WorkloadProbe(successes=2))
    health.note(True)
    assert not health.healthy
    health.note(True)
    assert health.healthy


def test_zeros_are_defaults_and_the_scheme_is_in_either_case() -> None:
    given = ReadinessProbe(
        http_get=HTTPHealthCheckConfig(port=80, scheme="https"),
        period_seconds=0,
        timeout_seconds=0,
        failure_threshold=0,
    )
    probe = WorkloadProbe.of(given)
    assert (probe.period, probe.timeout, probe.failures) == (10, 1, 3)
    assert probe.app is not None
    assert probe.app.http_get is not None
    assert probe.app.http_get.scheme == "HTTPS"
