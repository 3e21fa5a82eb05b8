"""What a workload takes from its clients, and what is said of PeerAuthentications that count for nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.mesh import inputs
from pilotfish.mesh.policy.peer_authentication import peer_modes
from pilotfish.mesh.policy.peers import identities
from pilotfish.mesh.problems.across import problems
from pilotfish.mesh.registry.endpoints import endpoints
from pilotfish.model.mutual_tls import PeerModes
from tests.mesh.meshes import NETWORKING, graph_of, manifest, pod, service

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "security" / "authentication"
ROOT = "root-namespace"


def peer_authentication(name: str, namespace: str = "vm", created: str = "", **spec: Any) -> Manifest:
    return manifest("PeerAuthentication", name, namespace, "security.istio.io/v1", spec=spec, created=created)


def _modes(*policies: Manifest, labels: dict[str, str], namespace: str, root: str = ROOT) -> PeerModes:
    graph = graph_of(*policies)
    inputs.apply_mesh_config(graph, MeshConfig(root_namespace=root))
    return graph.get(peer_modes, namespace, tuple(sorted(labels.items())))


def _read(file: str) -> list[Any]:
    path = DATA / file
    return yaml.safe_load(path.read_text())["cases"] if path.exists() else []


def _of(document: dict[str, Any]) -> Manifest:
    metadata = document["metadata"]
    created = str(metadata.get("creationTimestamp", ""))
    return peer_authentication(metadata["name"], metadata["namespace"], created, **(document["spec"] or {}))


@pytest.mark.parametrize("case", [pytest.param(each, id=each["name"]) for each in _read("compose.yaml")])
def test_the_nearest_and_oldest_counts(case: dict[str, Any]) -> None:
    """The cases hold policies that fit the workload: it has the labels of each."""
    modes = _modes(*map(_of, case["input"]), labels={"app": "foo", "stage": "prod"}, namespace="my-ns")
    expected = case["expect"]
    assert (modes.default, dict(modes.ports)) == (expected["mode"], expected["per_port"])


@pytest.mark.parametrize("case", [pytest.param(each, id=each["name"]) for each in _read("mtls-inbound.yaml")])
def test_what_a_port_takes(case: dict[str, Any]) -> None:
    modes = _modes(*map(_of, case["input"]), labels={"app": "foo"}, namespace="my-ns")
    assert modes.of(case["port"]) == case["expect"]["mode"]


def test_who_counts_for_whom() -> None:
    everywhere = peer_authentication("default", ROOT, mtls={"mode": "STRICT"})
    one = peer_authentication("one", selector={"matchLabels": {"app": "a"}}, portLevelMtls={"80": {"mode": "DISABLE"}})
    chosen = _modes(everywhere, one, labels={"app": "a", "v": "1"}, namespace="vm")
    assert (chosen.of(80), chosen.of(81)) == ("DISABLE", "STRICT")
    assert _modes(everywhere, one, labels={"app": "b"}, namespace="vm").of(80) == "STRICT"
    assert _modes(everywhere, one, labels={"app": "a"}, namespace="other").of(80) == "STRICT"
    assert _modes(labels={"app": "a"}, namespace="vm") == PeerModes()


def test_those_that_count_for_nobody_are_named() -> None:
    select_a, select_v = {"matchLabels": {"app": "a"}}, {"matchLabels": {"v": "1"}}
    graph = graph_of(
        pod("a", "10.0.0.1", {"app": "a", "v": "1"}),
        peer_authentication("first", created="2020-01-01T00:00:00Z", mtls={"mode": "STRICT"}),
        peer_authentication("second", created="2020-01-02T00:00:00Z", mtls={"mode": "DISABLE"}),
        peer_authentication("a-first", created="2020-01-01T00:00:00Z", selector=select_a),
        peer_authentication("b-second", created="2020-01-02T00:00:00Z", selector=select_v),
        peer_authentication("nobody", selector={"matchLabels": {"app": "typo"}}),
        peer_authentication("root", "istio-system", selector=select_a),
    )
    found = [(p.ref.name, p.reason) for p in graph.get(problems) if p.ref is not None]
    assert sorted(found) == [
        ("b-second", "ConflictingPeerAuthentication"),
        ("nobody", "NoWorkloads"),
        ("root", "RootSelector"),
        ("second", "ConflictingPeerAuthentication"),
    ]


STRICT = peer_authentication("strict", mtls={"mode": "STRICT"})
PROXIED = {"app": "a", "security.istio.io/tlsMode": "istio"}


@pytest.mark.parametrize(
    ("tls", "labels", "policy", "reason"),
    [
        ({"mode": "DISABLE"}, PROXIED, STRICT, "RefusedByPeer"),
        ({"mode": "SIMPLE"}, PROXIED, STRICT, "RefusedByPeer"),
        ({"mode": "ISTIO_MUTUAL"}, PROXIED, STRICT, ""),
        ({"mode": "DISABLE"}, {"app": "a"}, STRICT, ""),
        ({"mode": "DISABLE"}, PROXIED, peer_authentication("loose", mtls={"mode": "PERMISSIVE"}), ""),
        ({"mode": "ISTIO_MUTUAL"}, {"app": "a"}, STRICT, "NoMutualTLS"),
        ({"mode": "ISTIO_MUTUAL"}, PROXIED, peer_authentication("off", mtls={"mode": "DISABLE"}), "NoMutualTLS"),
    ],
)
def test_rules_whose_clients_are_not_taken(
    tls: dict[str, str], labels: dict[str, str], policy: Manifest, reason: str
) -> None:
    rule = manifest("DestinationRule", "a", api=NETWORKING, spec={"host": "a", "trafficPolicy": {"tls": tls}})
    graph = graph_of(service("a"), pod("a", "10.0.0.1", labels), policy, rule)
    found = [(p.reason, p.field) for p in graph.get(problems)]
    assert found == ([(reason, "spec.trafficPolicy.tls")] if reason else [])


def test_a_port_with_a_policy_of_its_own_is_judged_by_that() -> None:
    own = {"port": {"number": 80}, "tls": {"mode": "ISTIO_MUTUAL"}}
    policy = {"tls": {"mode": "DISABLE"}, "portLevelSettings": [own]}
    rule = manifest("DestinationRule", "a", api=NETWORKING, spec={"host": "a", "trafficPolicy": policy})
    graph = graph_of(service("a"), pod("a", "10.0.0.1", PROXIED), STRICT, rule)
    assert graph.get(problems) == ()


def test_tls_of_a_sidecars_own_at_a_strict_port() -> None:
    tls = {"mode": "SIMPLE", "serverCertificate": "/a", "privateKey": "/b"}
    ingress = [{"port": {"number": 8443, "protocol": "HTTPS", "name": "https"}, "tls": tls}]
    sidecar = manifest("Sidecar", "default", api=NETWORKING, spec={"ingress": ingress})
    (found,) = graph_of(STRICT, sidecar).get(problems)
    assert (found.reason, found.field) == ("UnusedField", "spec.ingress[0].tls")
    assert graph_of(sidecar).get(problems) == ()


def test_who_serves_is_known_of_pods_that_a_slice_lists() -> None:
    listed = manifest(
        "EndpointSlice",
        "a-1",
        api="discovery.k8s.io/v1",
        labels={"kubernetes.io/service-name": "a"},
        addressType="IPv4",
        ports=[{"name": "http", "port": 8080}],
        endpoints=[{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}],
    )
    graph = graph_of(service("a", selector={}), pod("a", "10.0.0.1", PROXIED), listed)
    found = graph.get(endpoints, "a.vm.svc.cluster.local", "", 80)
    assert [(e.address, e.account, e.mutual) for e in found] == [("10.0.0.1", "default", True), ("10.0.0.2", "", False)]
    assert graph.get(identities, "a.vm.svc.cluster.local", "", 80) == ("spiffe://cluster.local/ns/vm/sa/default",)


@pytest.mark.parametrize(
    ("annotations", "mutual"),
    [
        ({}, True),
        ({"excludeInboundPorts": "9090, 8080"}, False),
        ({"excludeInboundPorts": "9090"}, True),
        ({"includeInboundPorts": "9090"}, False),
        ({"includeInboundPorts": "8080,9090"}, True),
        ({"includeInboundPorts": ""}, False),
    ],
)
def test_a_port_that_the_sidecar_does_not_see_is_called_in_the_clear(annotations: dict[str, str], mutual: bool) -> None:
    written = {f"traffic.sidecar.istio.io/{key}": value for key, value in annotations.items()}
    spec = {"containers": [{"name": "app", "command": ["x"]}]}
    a = manifest("Pod", "a", labels=PROXIED, annotations=written, spec=spec, status={"podIP": "10.0.0.1"})
    graph = graph_of(service("a", ports=[{"name": "http", "port": 80, "targetPort": 8080}]), a)
    (found,) = graph.get(endpoints, "a.vm.svc.cluster.local", "", 80)
    assert found.mutual is mutual
