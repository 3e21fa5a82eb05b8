"""What counts as inbound work, and when a drain is over."""

import re
from math import inf

import pytest

from pilotfish.agent.draining import Draining, DrainPolicy
from pilotfish.agent.intake import GATEWAY, SIDECAR
from pilotfish.config.mesh import ProxyConfig
from pilotfish.model import Duration

LISTENER = "listener.0.0.0.0_15006.downstream_cx_active"


@pytest.mark.parametrize(
    ("stats", "active"),
    [
        ({}, None),
        ({LISTENER: 0}, 0),
        ({LISTENER: 3}, 3),
        # Both families.
        ({LISTENER: 1, "listener.[__]_15006.downstream_cx_active": 1}, 2),
        # What was asked for before the drain began.
        ({LISTENER: 1, "listener.0.0.0.0_15001.downstream_cx_active": 7, "server.live": 1}, 1),
    ],
)
def test_count_active(stats: dict[str, int], active: int | None) -> None:
    assert SIDECAR.count_active(stats) == active


@pytest.mark.parametrize(
    "name",
    [
        "listener.0.0.0.0_15001.downstream_cx_active",
        "listener.admin.downstream_cx_active",
        "http.inbound_0.0.0.0_80;.downstream_cx_active",
    ],
)
def test_outbound_and_admin_are_not_asked_for(name: str) -> None:
    assert not re.search(SIDECAR.drain_filter, name)
    assert re.search(SIDECAR.drain_filter, LISTENER)


def test_a_gateway_is_drained_of_what_comes_to_its_own_ports() -> None:
    stats = {
        "listener.0.0.0.0_80.downstream_cx_active": 2,
        "listener.0.0.0.0_15021.downstream_cx_active": 1,
        "listener.0.0.0.0_15090.downstream_cx_active": 1,
        "listener.admin.downstream_cx_active": 1,
    }
    assert GATEWAY.count_active(stats) == 2
    assert GATEWAY.listening(stats) == (80,)


def test_work_that_comes_back_ends_the_quiet() -> None:
    draining = Draining(0, 9)
    for at, active in ((0.0, 0), (0.05, 1), (0.1, 0), (0.15, 0)):
        draining = draining.observe(active, at)
        assert not draining.over
    assert draining.observe(0, 0.21).over


def test_an_unknown_amount_of_work_takes_all_the_time() -> None:
    draining = Draining(0, 5)
    for at in range(5):
        draining = draining.observe(None, at)
        assert not draining.over
    assert draining.observe(None, 5).over


def test_quiet_is_not_enough_before_others_can_know() -> None:
    draining = Draining(0, 9, earliest=5)
    for at in (0.0, 1.0, 4.9):
        draining = draining.observe(0, at)
        assert not draining.over
    assert draining.observe(0, 5).over


IDLE = {"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true"}


@pytest.mark.parametrize(
    ("environment", "metadata", "in_cluster", "expected"),
    [
        ({}, {}, False, DrainPolicy(0, 7)),
        ({}, {}, True, DrainPolicy(7, 7)),
        (IDLE, {}, True, DrainPolicy(5, inf)),
        ({**IDLE, "MINIMUM_DRAIN_DURATION": "200ms"}, {}, True, DrainPolicy(0.2, inf)),
        ({}, {**IDLE, "MINIMUM_DRAIN_DURATION": "1s"}, False, DrainPolicy(1, inf)),
        (IDLE, {"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "false"}, True, DrainPolicy(7, 7)),
        ({"MINIMUM_DRAIN_DURATION": "1s"}, {}, True, DrainPolicy(7, 7)),
    ],
)
def test_how_long_a_proxy_goes_on(
    environment: dict[str, str], metadata: dict[str, str], in_cluster: bool, expected: DrainPolicy
) -> None:
    config = ProxyConfig(termination_drain_duration=Duration(7 * 10**9), proxy_metadata=metadata)
    assert DrainPolicy.of(config, environment, in_cluster) == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "maybe"}, "EXIT_ON_ZERO_ACTIVE_CONNECTIONS: 'maybe' is neither true"),
        ({**IDLE, "MINIMUM_DRAIN_DURATION": "5"}, "MINIMUM_DRAIN_DURATION: '5' is no duration"),
    ],
)
def test_what_says_nothing_of_draining_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DrainPolicy.of(ProxyConfig(), environment, in_cluster=True)
