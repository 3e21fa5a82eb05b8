"""What counts as inbound work, and when a drain is over."""

import re

import pytest

from pilotfish.agent.draining import Draining
from pilotfish.agent.intake import GATEWAY, SIDECAR

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
