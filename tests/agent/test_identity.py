"""Who a sidecar is."""

from dataclasses import replace

import pytest

from pilotfish.agent.identity import build_bootstrap_spec, metadata_from_environment
from pilotfish.config.mesh import ConnectionSettings, ProxyConfig
from pilotfish.envoy.bootstrap import bootstrap
from pilotfish.model import Proxy

PROXY = Proxy.of_pod("webapp-0", "vm", ("10.244.0.2", "fd70::2"), labels={"app": "webapp"})


def test_discovery_reads_back_the_same_proxy() -> None:
    spec = build_bootstrap_spec(PROXY, ("10.244.0.1", 15010), ProxyConfig(), {}, "1", ipv6=True)
    node = bootstrap(spec)["node"]
    assert Proxy.parse(node["id"], node["metadata"]) == PROXY


def test_metadata_has_its_places() -> None:
    config = ProxyConfig(proxy_metadata={"DNS": "x", "OWNER": "mesh"}, proxy_admin_port=15009)
    metadata = {"OWNER": "pod", "MESH_ID": "m", "SERVICE_ACCOUNT": "sa", "WORKLOAD_NAME": "webapp"}
    found = bootstrap(build_bootstrap_spec(PROXY, ("10.244.0.1", 15010), config, metadata, "0.1", ipv6=True))
    expected = {"DNS": "x", "OWNER": "pod", "MESH_ID": "m", "SERVICE_ACCOUNT": "sa", "ISTIO_VERSION": "0.1"}
    assert expected.items() <= found["node"]["metadata"].items()
    assert found["admin"]["address"]["socket_address"]["port_value"] == 15009


def test_a_proxy_is_told_by_its_configuration_to_know_its_workload() -> None:
    config = ProxyConfig(proxy_metadata={"ISTIO_META_ENABLE_SELF_DISCOVERY": "true", "ISTIO_META_NETWORK": "n"})
    found = bootstrap(build_bootstrap_spec(PROXY, ("10.244.0.1", 15010), config, {}, "1", ipv6=True))
    node = found["node"]
    assert Proxy.parse(node["id"], node["metadata"]) == replace(PROXY, discovers_itself=True)
    assert node["metadata"]["NETWORK"] == "n"
    assert found["cluster_manager"] == {"local_cluster_name": "local_cluster"}


def test_a_pod_says_how_many_connections_its_proxy_takes() -> None:
    config = ProxyConfig(connection_settings=ConnectionSettings(global_downstream_connection_limit=7))
    found = bootstrap(build_bootstrap_spec(PROXY, ("10.244.0.1", 15010), config, {}, "1", ipv6=True))
    (monitor,) = found["overload_manager"]["resource_monitors"]
    assert monitor["typed_config"]["max_active_downstream_connections"] == 7


def test_connections_are_counted_so_that_a_drain_knows_its_end() -> None:
    found = bootstrap(build_bootstrap_spec(PROXY, ("10.244.0.1", 15010), ProxyConfig(), {}, "1", ipv6=False))
    patterns = found["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"]
    assert {"suffix": "downstream_cx_active"} in patterns


def test_environment() -> None:
    environment = {"ISTIO_META_MESH_ID": "m", "ISTIO_METAJSON_X": '{"A": "1", "B": [2]}', "PATH": "/bin"}
    assert metadata_from_environment(environment) == {"MESH_ID": "m", "A": "1", "B": [2]}


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_broken_environment_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="ISTIO_METAJSON_X"):
        metadata_from_environment({"ISTIO_METAJSON_X": text})
