"""Istio's own traffic simulation: which listener, chain, route and cluster one call gets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext

from pilotfish.envoy.types import CLUSTER, LISTENER
from pilotfish.envoy.values import ResourceSet
from pilotfish.explain.call import Application, Call, Direction, HttpRequest, Tls
from pilotfish.explain.listeners import choose_chain
from pilotfish.offline.proxies import parse_description
from pilotfish.offline.reading import read
from pilotfish.offline.world import build
from tests.certificates import issue, secret
from tests.explain.way import Way, find_way

FILES: Final = (
    "passthrough", "services", "service-entry", "inbound-clusters", "sidecar-routes", "inbound", "gateway", "tls",
    "ingress", "peer-authentication",
)  # fmt: skip
LEFT_OUT: Final = {
    "-httproute-": "the Gateway API",
    "duplicate-tls-gateway": "two chains for one server name, which Envoy refuses: the oldest Gateway has it here",
    "gateway-target-port-": "Istio's internal annotation; targetPort is tested in tests/mesh/test_gateways.py",
    "gateway-services-": "Istio's internal annotation, which binds a gateway to one of several Services",
    "duplicated-host": "Istio's choice of addresses for ServiceEntries that have none",
    "tlsroute-terminate": "the Gateway API, by internal annotations of Istio's",
    "tlsroute-mixed": "the Gateway API, by internal annotations of Istio's",
    "gateway-external-sds-provider": "secrets of a provider outside of the mesh",
}
"""What the names of scenarios contain that need something that pilotfish has not. All others go through explain's walk
of a proxy (`explain.proxy`), every call of them."""


_UNNAMED: Final = re.compile(r"\(without a name\)|route \d+")
"""What we call a filter chain or a route that has no name."""


def test_every_file_is_checked_or_left_out(conformance: Path) -> None:
    there = {path.stem for path in (conformance / "simulation").glob("*.yaml")}
    assert there == {*FILES, "loadbalancer"}


def test_nothing_is_left_out_that_is_not_there(conformance: Path) -> None:
    files = (conformance / "simulation" / f"{file}.yaml" for file in FILES)
    names = [scenario["name"] for file in files for scenario in yaml.safe_load(file.read_text())]
    assert [part for part in LEFT_OUT if not any(part in name for name in names)] == []


def test_endpoints_fail_over_as_istio_says(conformance: Path) -> None:
    """Upstream's test asks for failover; with a DestinationRule it is outlier detection that does."""
    for scenario in yaml.safe_load((conformance / "simulation" / "loadbalancer.yaml").read_text()):
        (expected,) = scenario["assert"]["clusters"]
        host = expected["name"].rpartition("|")[2]
        rule = {"host": host, "trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": 1}}}
        kind = {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule"}
        rules = yaml.safe_dump({**kind, "metadata": {"name": "x", "namespace": "default"}, "spec": rule})
        found = _resources({**scenario, "config": f"{scenario['config']}---\n{rules}"}).get(CLUSTER, expected["name"])
        assert found is not None
        groups = Cluster.FromString(found.body).load_assignment.endpoints
        assert [
            {"address": each.endpoint.address.socket_address.address, "priority": group.priority}
            for group in groups
            for each in group.lb_endpoints
        ] == expected["endpoints_after_failover"]


@pytest.mark.parametrize("file", FILES)
def test_calls_take_the_way_that_istio_says(file: str, conformance: Path) -> None:
    checked = 0
    for scenario in yaml.safe_load((conformance / "simulation" / f"{file}.yaml").read_text()):
        if any(part in scenario["name"] for part in LEFT_OUT):
            continue
        resources = _resources(scenario)
        for call in scenario["calls"]:
            found = find_way(resources, _call(call))
            way = _facts(found) | _certificates_differ(resources, found, call)
            made = {key: way[key] or None for key in call["expect"] if key in way}
            expected = {key: _expected(resources, key, call["expect"][key]) for key in made}
            assert made == expected, (scenario["name"], call["name"])
            checked += 1
        _check_inbound_clusters(resources, (scenario.get("assert") or {}).get("inbound_clusters"))
    assert checked >= 5


def _certificates_differ(resources: ResourceSet, way: Way, row: Mapping[str, Any]) -> dict[str, str]:
    """A client that shows a certificate, where none is asked for, or none where one is, is one of the other kind."""
    found = resources.get(LISTENER, way.listener)
    if found is None or row["call"]["tls"] == "plaintext":
        return {}
    chain = choose_chain(Listener.FromString(found.body), _call(row)).taken
    if chain is not None and chain.HasField("transport_socket"):
        context = DownstreamTlsContext.FromString(chain.transport_socket.typed_config.value)
        is_meant = context.require_client_certificate.value is (row["call"]["tls"] == "mtls")
        return {} if is_meant else {"error": "mtls-error"}
    return {}


def _expected(resources: ResourceSet, key: str, value: str | None) -> str | None:
    """Istio's routes may lead to clusters that do not exist, which is a 503: here to one that never has an endpoint."""
    is_lost = key == "cluster" and value and value.startswith("outbound|") and resources.get(CLUSTER, value) is None
    return "BlackHoleCluster" if is_lost else value or None


def _call(row: Mapping[str, Any]) -> Call:
    """Istio's simulator has some plaintext connections carry a server name, which none does: those are TLS."""
    call, has_name = row["call"], "plaintext-carries-sni" in (row.get("skip_if") or ())
    alpn = (call["alpn"],) if call["alpn"] else ()
    is_tls = has_name or call["tls"] != "plaintext"
    of_mesh = call["tls"] == "mtls" and "mtls_server_certificate" not in call
    tls = Tls(call["sni"] or "", alpn, of_mesh) if is_tls else None
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
    told = {name: _UNNAMED.sub("", getattr(way, name)) for name in names}
    return told | {"error": way.failure or ""}


def _tell_ports_apart(ports: list[dict[str, Any]]) -> None:
    """The data has Services with several ports of one name, which no API server takes."""
    seen: set[str] = set()
    for port in ports:
        if port.get("name") in seen:
            port["name"] = f"{port['name']}-{port['port']}"
        seen.add(port.get("name", ""))


def _check_inbound_clusters(resources: ResourceSet, expected: list[Mapping[str, Any]] | None) -> None:
    if expected is not None:
        made = {r.name for r in resources.resources(CLUSTER) if r.name.startswith("inbound")}
        assert made == {cluster["name"] for cluster in expected}


def _secrets(namespace: str, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Istio's simulator lets each credential be there."""
    named = {
        server["tls"]["credentialName"]
        for document in documents
        if document["kind"] == "Gateway"
        for server in document["spec"].get("servers") or []
        if "credentialName" in (server.get("tls") or {})
    }
    ingresses = (document["spec"] for document in documents if document["kind"] == "Ingress")
    named |= {tls["secretName"] for spec in ingresses for tls in spec.get("tls") or []}
    shown = issue("gateway")
    texts = (secret(name, namespace, tls_crt=shown.pem, tls_key=shown.key, ca_crt=shown.pem) for name in sorted(named))
    return [yaml.safe_load(text.partition("---")[0]) for text in texts]


def _resources(scenario: Mapping[str, Any]) -> ResourceSet:
    texts = (scenario.get("config") or "", scenario.get("kubernetes") or "")
    documents = [d for text in texts for d in yaml.safe_load_all(text) if d]
    for document in documents:
        if document["kind"] == "Service":
            # The data has no pods; its endpoints are listed, which holds for Services without a selector.
            document["spec"].pop("selector", None)
            _tell_ports_apart(document["spec"].get("ports") or [])
    documents += _secrets(scenario["proxy"]["namespace"], documents)
    said = scenario.get("mesh", {})
    config: dict[str, Any] = {"outboundTrafficPolicy": {"mode": said.get("outbound_traffic_policy", "ALLOW_ANY")}}
    if "locality_lb_setting" in said:
        config["localityLbSetting"] = {"failoverPriority": said["locality_lb_setting"]["failover_priority"]}
    mesh = ("mesh.yaml", yaml.safe_dump(config))
    world = build(read([("in.yaml", yaml.safe_dump_all(documents))], mesh_config=mesh))
    return world.mesh.resources(parse_description(json.dumps(scenario["proxy"])))
