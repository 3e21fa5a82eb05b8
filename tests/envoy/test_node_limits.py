"""How a machine's proxy is divided among its pods."""

import pytest

from pilotfish.envoy.node_limits import NodeLimits


@pytest.mark.parametrize(
    ("descriptors", "connections", "for_one_pod"),
    [(1_048_576, 523_776, 130_944), (20_000, 9_488, 2_372), (1_024, 1, 1), (64, 1, 1)],
)
def test_connections_end_before_descriptors_do(descriptors: int, connections: int, for_one_pod: int) -> None:
    assert NodeLimits.of(descriptors) == NodeLimits(connections, for_one_pod)


def test_each_of_a_pods_listeners_has_its_share() -> None:
    assert NodeLimits.of(20_000).runtime_of("webapp-0.vm") == {
        "envoy.resource_limits.listener.virtualInbound~webapp-0.vm.connection_limit": "2372",
        "envoy.resource_limits.listener.virtualOutbound~webapp-0.vm.connection_limit": "2372",
    }
