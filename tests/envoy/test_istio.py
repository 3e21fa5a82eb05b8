"""The same configuration as a real Istio was given, and what it made of it.

Where pilotfish differs on purpose, the test says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.json_format import MessageToDict

from pilotfish.config import load
from pilotfish.config.meshconfig import load_mesh_config
from pilotfish.derive import Graph
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.envoy.values import ResourceSet
from pilotfish.mesh import inputs
from pilotfish.model import Proxy

PODS = {
    "webapp-0": Proxy.of_pod("webapp-0", "vm", ("10.245.1.1",)),
    "calculator-v1": Proxy.of_pod("calculator-v1", "vm", ("10.245.1.2",)),
}
COMBINATIONS = [(scenario, pod) for scenario in ("allow-any", "registry-only") for pod in PODS]


@pytest.fixture(params=COMBINATIONS, ids="-".join)
def pair(request: pytest.FixtureRequest, conformance: Path) -> tuple[ResourceSet, Mapping[str, Any]]:
    """What pilotfish makes of a configuration, and Istio's sections of the config dump."""
    scenario, pod = request.param
    folder = conformance / "istio" / scenario
    if not folder.is_dir():
        pytest.skip("no recorded Istio")
    config, *objects = yaml.safe_load_all((folder / "config.yaml").read_text())
    loaded = load(yaml.safe_dump_all(objects), "config.yaml")
    mesh_config, _ = load_mesh_config(yaml.safe_dump(config["mesh"]), "mesh.yaml")
    assert mesh_config is not None
    graph = Graph()
    inputs.apply(graph, {m.ref: m for m in loaded.manifests})
    inputs.apply_mesh_config(graph, mesh_config)
    dump = json.loads((folder / f"{pod}.config_dump.json").read_text())["configs"]
    return resource_set(graph, PODS[pod]), {c["@type"].rpartition(".")[2]: c for c in dump}


def _made(found: ResourceSet, type_url: str, message: type[Any]) -> dict[str, Any]:
    return {
        r.name: MessageToDict(message.FromString(r.body), preserving_proto_field_name=True)
        for r in found.resources(type_url)
    }


def _listeners(dump: Mapping[str, Any]) -> dict[str, Any]:
    found = dump["ListenersConfigDump"]["dynamic_listeners"]
    return {entry["name"]: entry["active_state"]["listener"] for entry in found}


def _routes(dump: Mapping[str, Any]) -> dict[str, Any]:
    found = (entry["route_config"] for entry in dump["RoutesConfigDump"].get("dynamic_route_configs", ()))
    return {route["name"]: route for route in found}


def _clusters(dump: Mapping[str, Any]) -> dict[str, Any]:
    found = (entry["cluster"] for entry in dump["ClustersConfigDump"]["dynamic_active_clusters"])
    return {cluster["name"]: cluster for cluster in found}


def _filters(chain: Mapping[str, Any]) -> list[str]:
    found = [f["name"] for f in chain["filters"]]
    for manager in (f["typed_config"] for f in chain["filters"]):
        found += [f["name"] for f in manager.get("http_filters", ())]
    # grpc_stats feeds Istio's own statistics filter, which upstream Envoy has not; set_filter_state is in the place of
    # Istio's ALPN filter.
    own = ("envoy.filters.http.grpc_stats", "envoy.filters.network.set_filter_state")
    return [name for name in found if name not in own]


def _chains(listener: Mapping[str, Any]) -> list[Any]:
    """HTTP/1.0 set aside: Istio looks for it only where it runs with PILOT_HTTP10."""
    chains = [*listener["filter_chains"]]
    if "default_filter_chain" in listener:
        chains.append({**listener["default_filter_chain"], "filter_chain_match": "default"})
    described = [
        (
            c.get("name", ""),
            json.dumps(c.get("filter_chain_match", {}), sort_keys=True).replace('"http/1.0", ', ""),
            _filters(c),
        )
        for c in chains
    ]
    return sorted(described)


def test_the_names_are_istios(pair: tuple[ResourceSet, Mapping[str, Any]]) -> None:
    found, dump = pair
    assert set(_made(found, LISTENER, Listener)) == set(_listeners(dump))
    assert set(_made(found, CLUSTER, Cluster)) == set(_clusters(dump))
    assert set(_made(found, ROUTE, RouteConfiguration)) == set(_routes(dump))


def test_the_listeners_have_istios_filter_chains(pair: tuple[ResourceSet, Mapping[str, Any]]) -> None:
    found, dump = pair
    theirs = _listeners(dump)
    for name, listener in _made(found, LISTENER, Listener).items():
        assert _chains(listener) == _chains(theirs[name]), name
        for key in ("use_original_dst", "bind_to_port", "traffic_direction", "continue_on_listener_filters_timeout"):
            assert listener.get(key) == theirs[name].get(key), (name, key)


def test_the_clusters_are_istios(pair: tuple[ResourceSet, Mapping[str, Any]]) -> None:
    found, dump = pair
    theirs = _clusters(dump)
    for name, cluster in _made(found, CLUSTER, Cluster).items():
        # IPv6 is pilotfish's own; an empty message says nothing.
        cluster.get("upstream_bind_config", {}).pop("extra_source_addresses", None)
        assert cluster == {k: v for k, v in theirs[name].items() if v != {} and k != "@type"}, name


def test_the_virtual_hosts_answer_to_istios_domains(pair: tuple[ResourceSet, Mapping[str, Any]]) -> None:
    """And to one more for each Service: `calculator.vm.svc.cluster`, which the seed shows and Istio has given up."""
    found, dump = pair
    theirs = _routes(dump)
    for name, route in _made(found, ROUTE, RouteConfiguration).items():
        known = _domains(theirs[name])
        # A VirtualService's host on a port that its service has not: Istio routes it to nowhere, pilotfish not at all.
        dead = {d for host in theirs[name]["virtual_hosts"] for d in host["domains"] if _is_dead(host, dump)}
        own = {d for d in _domains(route) if not d.endswith(".svc.cluster")}
        assert own == known - dead, name
        assert route["ignore_port_in_host_matching"] is True


def test_requests_take_the_clusters_that_istio_chooses(pair: tuple[ResourceSet, Mapping[str, Any]]) -> None:
    found, dump = pair
    theirs = _routes(dump)
    for name, route in _made(found, ROUTE, RouteConfiguration).items():
        expected = {h["name"]: _actions(h) for h in theirs[name]["virtual_hosts"]}
        for host in route["virtual_hosts"]:
            assert _actions(host) == expected[host["name"]], (name, host["name"])


def test_the_endpoints_are_istios(pair: tuple[ResourceSet, Mapping[str, Any]]) -> None:
    found, dump = pair
    theirs = {
        entry["endpoint_config"]["cluster_name"]: _addresses(entry["endpoint_config"])
        for entry in dump["EndpointsConfigDump"]["dynamic_endpoint_configs"]
    }
    for name, assignment in _made(found, ENDPOINT, ClusterLoadAssignment).items():
        assert _addresses(assignment) == theirs[name], name


def _domains(route: Mapping[str, Any]) -> set[str]:
    return {domain for host in route["virtual_hosts"] for domain in host["domains"]}


def _is_dead(host: Mapping[str, Any], dump: Mapping[str, Any]) -> bool:
    known = _clusters(dump)
    named = {cluster for route in host["routes"] for cluster, _ in _targets(route)}
    return bool(named) and not any(cluster in known for cluster in named)


def _targets(route: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    action = route.get("route", {})
    if "cluster" in action:
        return ((action["cluster"], 100),)
    return tuple((c["name"], c["weight"]) for c in action.get("weighted_clusters", {}).get("clusters", ()))


def _actions(host: Mapping[str, Any]) -> list[Any]:
    """For each route what decides: its match, targets, retries, timeout; its name and decorator are what people see."""
    return [
        (
            route.get("name"),
            route["match"],
            _targets(route),
            route.get("direct_response"),
            json.dumps(route.get("route", {}).get("retry_policy"), sort_keys=True),
            route.get("route", {}).get("timeout"),
            route.get("decorator"),
            _config_of(route),
        )
        for route in host["routes"]
    ]


def _config_of(route: Mapping[str, Any]) -> str | None:
    """Whose it is. Ours says the field, too."""
    return route.get("metadata", {}).get("filter_metadata", {}).get("istio", {}).get("config")  # type: ignore[no-any-return]


def _addresses(assignment: Mapping[str, Any]) -> list[tuple[str, int]]:
    found = (
        e["endpoint"]["address"]["socket_address"] for g in assignment.get("endpoints", ()) for e in g["lb_endpoints"]
    )
    return sorted((address["address"], address["port_value"]) for address in found)
