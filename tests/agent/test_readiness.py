"""Envoy's stats → ready, or why not."""

import pytest

from pilotfish.agent.intake import GATEWAY, SIDECAR
from pilotfish.agent.readiness import parse_stats, why_not_ready

READY = """\
cluster_manager.cds.update_rejected: 0
cluster_manager.cds.update_success: 1
listener_manager.lds.update_rejected: 0
listener_manager.lds.update_success: 1
listener_manager.total_listeners_warming: 0
listener_manager.workers_started: 1
server.state: 0
"""
BOTH = {f"listener.0.0.0.0_{port}.downstream_cx_active": 0 for port in (15001, 15006)}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"cluster_manager.cds.update_success": 0}, "discovery has not sent clusters yet"),
        ({"listener_manager.lds.update_success": 0}, "discovery has not sent listeners yet"),
        ({"server.state": 1}, "Envoy is draining"),
        ({"server.state": 2}, "Envoy is starting"),
        ({"server.state": 3}, "Envoy waits for endpoints, routes or secrets"),
        ({"listener_manager.workers_started": 0}, "Envoy's workers have not started"),
        ({"listener_manager.total_listeners_warming": 2}, "2 listeners wait for their routes"),
    ],
)
def test_why_not_ready(changed: dict[str, int], why: str) -> None:
    assert why_not_ready({**parse_stats(READY), **changed}, was_ready=False, intake=SIDECAR) == why


def test_a_bad_cluster_of_somebody_does_not_keep_pods_from_starting() -> None:
    refused = {"cluster_manager.cds.update_success": 0, "cluster_manager.cds.update_rejected": 1}
    assert why_not_ready({**parse_stats(READY), **refused}, was_ready=False, intake=SIDECAR) == ""


def test_refused_listeners_are_ready_only_if_captured_traffic_has_its_two() -> None:
    stats = {
        **parse_stats(READY),
        "listener_manager.lds.update_success": 0,
        "listener_manager.lds.update_rejected": 1,
    }
    assert "refused" in why_not_ready(stats, was_ready=False, intake=SIDECAR)
    assert why_not_ready({**stats, **BOTH}, was_ready=False, intake=SIDECAR) == ""
    assert why_not_ready(stats, was_ready=False, intake=GATEWAY) == ""


def test_new_listeners_that_warm_do_not_take_readiness_away() -> None:
    assert (
        why_not_ready(
            {**parse_stats(READY), "listener_manager.total_listeners_warming": 2}, was_ready=True, intake=SIDECAR
        )
        == ""
    )


def test_no_stats_is_not_ready() -> None:
    assert why_not_ready({}, was_ready=False, intake=SIDECAR)


def test_parse_leaves_out_what_is_no_number() -> None:
    text = "a.b: 1\nname: with: colon: 2\nh: No recorded values\nt: P0(1,1)\n\nversion: \n"
    assert parse_stats(text) == {"a.b": 1, "name: with: colon": 2}
