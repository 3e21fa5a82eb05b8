"""When a server's proxy reads the requests that a client's has read, and that both sides hold the same of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pilotfish.config.manifest import Manifest
from pilotfish.config.meshconfig import load_mesh_config
from pilotfish.derive import Graph
from pilotfish.mesh import inputs
from pilotfish.mesh.listeners.inbound import inbound_of
from pilotfish.mesh.policy.policies import scope_of
from pilotfish.mesh.security.guards import guard_of
from pilotfish.mesh.security.reading import needs_no_reading, reason_to_read
from pilotfish.model import Proxy
from tests.mesh.meshes import NETWORKING, graph_of, manifest, service

HOST = "web.vm.svc.cluster.local"
SECURITY = "security.istio.io/v1"
SERVICE = service("web", ports=[{"name": "http", "port": 80, "targetPort": 8080}])
ALLOW: dict[str, Any] = {"rules": [{"from": [{"source": {"principals": ["cluster.local/ns/vm/sa/web"]}}]}]}


def web(name: str = "web-1", ip: str = "10.244.0.2", annotations: dict[str, str] = {}, **labels: str) -> Manifest:  # noqa: B006
    return manifest(
        "Pod",
        name,
        labels={"app": "web", "security.istio.io/tlsMode": "istio", **labels},
        annotations=annotations,
        spec={"containers": [{"name": "app", "command": ["x"]}]},
        status={"podIP": ip},
    )


def object_of(kind: str, name: str = "x", api: str = SECURITY, namespace: str = "vm", **spec: Any) -> Manifest:
    return manifest(kind, name, namespace, api, spec=spec)


def selecting(**labels: str) -> dict[str, Any]:
    return {"selector": {"matchLabels": labels}}


def mesh_of(*objects: Manifest, **config: Any) -> Graph:
    graph = graph_of(*objects)
    loaded, problems = load_mesh_config(json.dumps(config), "in.yaml")
    assert loaded is not None
    assert not problems
    inputs.apply_mesh_config(graph, loaded)
    return graph


def reason(graph: Graph, name: str = "web-1", address: str = "10.244.0.2", **labels: str) -> str:
    """Of the pod's own proxy."""
    own = {"app": "web", "security.istio.io/tlsMode": "istio", **labels}
    proxy = Proxy.of_pod(name, "vm", (address,), labels=own)
    inbound = inbound_of(graph, proxy)
    (port,) = inbound.ports
    mode, guard = inbound.modes.of(port.number), guard_of(graph, proxy, scope_of(graph, proxy))
    found: str = graph.get(reason_to_read, port, mode, guard, inbound.reads)
    return found


def asks(graph: Graph, port: int = 80) -> bool:
    """Whether clients ask for it."""
    found: bool = graph.get(needs_no_reading, HOST, "", port)
    return found


def test_nobody_asks_for_it() -> None:
    graph = mesh_of(SERVICE, web())
    assert (reason(graph), asks(graph)) == ("", True)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"accessLogFile": "/dev/stdout"}, "meshConfig.accessLogFile"),
        ({"defaultInboundHttpRetryPolicy": {"attempts": 3}}, "meshConfig.defaultInboundHttpRetryPolicy"),
        (
            {"defaultConfig": {"proxyHeaders": {"forwardedClientCert": "APPEND_FORWARD"}}},
            "meshConfig.defaultConfig.proxyHeaders",
        ),
        (
            {"defaultConfig": {"proxyHeaders": {"setCurrentClientCertDetails": {"cert": True}}}},
            "meshConfig.defaultConfig.proxyHeaders",
        ),
        (
            {"defaultConfig": {"connectionSettings": {"httpIdleTimeout": "10s"}}},
            "meshConfig.defaultConfig.connectionSettings",
        ),
        (
            {"defaultConfig": {"proxyStatsMatcher": {"inclusionPrefixes": ["http"]}}},
            "meshConfig.defaultConfig.proxyStatsMatcher",
        ),
        (
            {"defaultConfig": {"proxyMetadata": {"PILOTFISH_INBOUND": "http"}}},
            "meshConfig.defaultConfig.proxyMetadata.PILOTFISH_INBOUND",
        ),
        ({"defaultConfig": {"proxyHeaders": {"forwardedClientCert": "SANITIZE"}}}, ""),
        ({"defaultConfig": {"connectionSettings": {"listenerPerConnectionBufferLimitBytes": 1024}}}, ""),
        ({"connectTimeout": "1s"}, ""),
    ],
)
def test_the_mesh_asks_for_it(config: dict[str, Any], expected: str) -> None:
    graph = mesh_of(SERVICE, web(), **config)
    assert (reason(graph), asks(graph)) == (expected, not expected)


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({"pilotfish.io/inbound": "http"}, "pilotfish.io/inbound"),
        ({"sidecar.istio.io/statsInclusionPrefixes": "http"}, "sidecar.istio.io/statsInclusionPrefixes"),
        ({"proxy.istio.io/config": "proxyStatsMatcher: {inclusionPrefixes: [http]}"}, "proxy.istio.io/config"),
        ({"proxy.istio.io/config": "concurrency: 2"}, ""),
    ],
)
def test_the_pod_asks_for_it(annotations: dict[str, str], expected: str) -> None:
    graph = mesh_of(SERVICE, web(annotations=annotations))
    assert (reason(graph), asks(graph)) == (expected, not expected)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (object_of("AuthorizationPolicy", **ALLOW), "AuthorizationPolicy vm/x"),
        (object_of("AuthorizationPolicy", **ALLOW, **selecting(app="web")), "AuthorizationPolicy vm/x"),
        (object_of("AuthorizationPolicy", **ALLOW, namespace="istio-system"), "AuthorizationPolicy istio-system/x"),
        (object_of("AuthorizationPolicy", **ALLOW, action="AUDIT"), ""),
        (object_of("AuthorizationPolicy", **ALLOW, **selecting(app="other")), ""),
        (object_of("AuthorizationPolicy", **ALLOW, namespace="other"), ""),
        (
            object_of("RequestAuthentication", jwtRules=[{"issuer": "a", "jwks": '{"keys": []}'}]),
            "RequestAuthentication vm/x",
        ),
        (object_of("PeerAuthentication", mtls={"mode": "DISABLE"}), "it takes no mutual TLS"),
        (object_of("PeerAuthentication", mtls={"mode": "STRICT"}), ""),
        (
            object_of(
                "DestinationRule",
                api=NETWORKING,
                host="web",
                trafficPolicy={"connectionPool": {"http": {"http1MaxPendingRequests": 1}}},
            ),
            "it has a connectionPool",
        ),
        (
            object_of("Sidecar", api=NETWORKING, inboundConnectionPool={"http": {"http2MaxRequests": 1}}),
            "it has a connectionPool",
        ),
        (object_of("Sidecar", api=NETWORKING, egress=[{"hosts": ["./*"]}]), ""),
    ],
)
def test_an_object_asks_for_it(policy: Manifest, expected: str) -> None:
    graph = mesh_of(SERVICE, web(), policy)
    assert (reason(graph), asks(graph)) == (expected, not expected)


def test_grpc_is_read_once() -> None:
    graph = mesh_of(service("web", ports=[{"name": "grpc", "port": 80, "targetPort": 8080}]), web())
    assert (reason(graph), asks(graph)) == ("", True)


@pytest.mark.parametrize("protocol", ["http2", "grpc-web", "tcp", "x"])
def test_what_may_be_several_things_is_read(protocol: str) -> None:
    graph = mesh_of(service("web", ports=[{"name": protocol, "port": 80, "targetPort": 8080}]), web())
    assert reason(graph).startswith("its protocol is ")
    assert not asks(graph)


def test_clients_ask_for_it_only_where_none_of_the_servers_reads() -> None:
    """Else what one of them has to see would not go to it by another way once it has to."""
    policy = object_of("AuthorizationPolicy", **ALLOW, **selecting(version="v2"))
    graph = mesh_of(SERVICE, web(), web("web-2", "10.244.0.3", version="v2"), policy)
    assert (reason(graph), reason(graph, "web-2", "10.244.0.3", version="v2")) == ("", "AuthorizationPolicy vm/x")
    assert not asks(graph)


def test_of_who_is_not_known_to_discovery_nothing_is_passed_on() -> None:
    slices = manifest(
        "EndpointSlice",
        "web-1",
        api="discovery.k8s.io/v1",
        labels={"kubernetes.io/service-name": "web"},
        addressType="IPv4",
        ports=[{"name": "http", "port": 8080}],
        endpoints=[{"addresses": ["10.244.0.2"]}],
    )
    graph = mesh_of(service("web", selector={}), slices)
    assert reason(graph) == "no pod of its name is known"
    assert not asks(graph)
