"""Istio's own traffic simulation: which listener, chain, route and cluster one call gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from pilotfish.envoy.types import CLUSTER
from pilotfish.envoy.values import ResourceSet
from pilotfish.explain.call import Application, Call, Direction, HttpRequest, Tls, Way
from pilotfish.explain.way import find_way
from pilotfish.offline.proxies import parse_description
from pilotfish.offline.reading import read
from pilotfish.offline.world import build

FILES: Final = ("passthrough", "services", "service-entry", "inbound-clusters")
LEFT_OUT: Final = {
    "dynamic-dns": "the outbound policy ALLOW_ANY_DYNAMIC_DNS",
    "-ingress": "the kind Sidecar",
    "duplicated-host": "two ServiceEntries of one host, of which the older has it all",
    "single-listener": "an Istio feature that is off by default",
}
"""What the names of scenarios contain that need something that pilotfish has not."""


@pytest.mark.parametrize("file", FILES)
def test_calls_take_the_way_that_istio_says(file: str, conformance: Path) -> None:
    checked = 0
    for scenario in yaml.safe_load((conformance / "simulation" / f"{file}.yaml").read_text()):
        if any(part in scenario["name"] for part in LEFT_OUT):
            continue
        resources = _resources(scenario)
        for call in scenario["calls"]:
            _check_way(resources, scenario["name"], call)
            checked += 1
        _check_inbound_clusters(resources, (scenario.get("assert") or {}).get("inbound_clusters"))
    assert checked >= 5


def _check_way(resources: ResourceSet, scenario: str, call: Mapping[str, Any]) -> None:
    way = _facts(find_way(resources, _call(call)))
    made = {key: way[key] or None for key in call["expect"] if key in way}
    expected = {key: call["expect"][key] or None for key in made}
    assert made == expected, (scenario, call["name"])


NO_ROUTES: Final = {
    "httproute": "routes of the Gateway API",
    "sidecar-cross-namespace": "the kind Sidecar",
}
"""The same of those that are about routes."""


def test_virtual_services_route_as_istio_says(conformance: Path) -> None:
    """What a route leads to is made to exist: else it is BlackHoleCluster here, where Istio names a cluster."""
    checked = 0
    for scenario in yaml.safe_load((conformance / "simulation" / "sidecar-routes.yaml").read_text()):
        if any(part in scenario["name"] for part in NO_ROUTES):
            continue
        resources = _resources(_completed(scenario))
        for call in scenario["calls"]:
            _check_way(resources, scenario["name"], call)
            checked += 1
    assert checked >= 36


def _completed(scenario: Mapping[str, Any]) -> Mapping[str, Any]:
    """Ports with names of their own, as Kubernetes wants them; and whatever a call is said to reach."""
    services = [d for d in yaml.safe_load_all(scenario.get("kubernetes") or "") if d]
    config = [d for d in yaml.safe_load_all(scenario.get("config") or "") if d]
    for service in (d for d in services if d["kind"] == "Service"):
        for index, port in enumerate(service["spec"]["ports"]):
            port["name"] = f"http-{index}"
    entries = [host for d in config if d["kind"] == "ServiceEntry" for host in d["spec"]["hosts"]]
    names = [(d["metadata"]["name"], d["metadata"].get("namespace", "default")) for d in services]
    known = {*entries, *(f"{name}.{namespace}.svc.cluster.local" for name, namespace in names)}
    reached = {call["expect"].get("cluster", "").rpartition("|")[2] for call in scenario["calls"]}
    ports = [{"number": number, "name": f"http-{number}", "protocol": "HTTP"} for number in (80, 8080)]
    for host in sorted(reached - known - {""}):
        metadata = {"name": host, "namespace": "others"}
        spec = {"hosts": [host], "resolution": "STATIC", "ports": ports}
        config.append(
            {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata, "spec": spec}
        )
    return {**scenario, "config": yaml.safe_dump_all(config), "kubernetes": yaml.safe_dump_all(services)}


def _call(row: Mapping[str, Any]) -> Call:
    """Istio's simulator has some plaintext connections carry a server name, which none does: those are TLS."""
    call, has_name = row["call"], "plaintext-carries-sni" in (row.get("skip_if") or ())
    tls = Tls(call["sni"] or "", call["alpn"] or "") if has_name or call["tls"] != "plaintext" else None
    return Call(
        Direction(call["mode"]),
        call["address"],
        call["port"],
        Application(call["protocol"]),
        tls,
        HttpRequest(call.get("host") or "", call.get("path") or "/"),
    )


def _facts(way: Way) -> dict[str, str]:
    """In the data's words."""
    names = ("listener", "filter_chain", "route_config", "virtual_host", "route", "cluster")
    return {name: getattr(way, name) for name in names} | {"error": way.failure or ""}


def _check_inbound_clusters(resources: ResourceSet, expected: list[Mapping[str, Any]] | None) -> None:
    if expected is not None:
        made = {r.name for r in resources.resources(CLUSTER) if r.name.startswith("inbound")}
        assert made == {cluster["name"] for cluster in expected}


def _resources(scenario: Mapping[str, Any]) -> ResourceSet:
    texts = (scenario.get("config") or "", scenario.get("kubernetes") or "")
    documents = [d for text in texts for d in yaml.safe_load_all(text) if d]
    for document in documents:
        if document["kind"] == "Service":
            # The data has no pods; its endpoints are listed, which holds for Services without a selector.
            document["spec"].pop("selector", None)
    mode = scenario.get("mesh", {}).get("outbound_traffic_policy", "ALLOW_ANY")
    mesh = ("mesh.yaml", yaml.safe_dump({"outboundTrafficPolicy": {"mode": mode}}))
    world = build(read([("in.yaml", yaml.safe_dump_all(documents))], mesh_config=mesh))
    return world.mesh.resources(parse_description(json.dumps(scenario["proxy"])))
