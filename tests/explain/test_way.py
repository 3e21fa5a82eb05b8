"""One call's whole way through a proxy's resources."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.json_format import ParseDict

from pilotfish.envoy.types import CLUSTER, LISTENER, ROUTE
from pilotfish.envoy.values import Layer, Resource, ResourceSet
from pilotfish.explain.call import Application, Call, Direction, Failure, HttpRequest, Tls
from pilotfish.explain.held import Held
from pilotfish.explain.proxy import walk_proxy
from pilotfish.explain.trace import Branch, Stage, Tape
from tests.explain.way import Way, find_way

_TYPE = "type.googleapis.com/envoy.extensions"
_MANAGER = f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager"
_TCP = f"{_TYPE}.filters.network.tcp_proxy.v3.TcpProxy"
CANARY = [{"name": "v1", "weight": 90}, {"name": "v2", "weight": 10}]
ROUTES = {
    "name": "http.80",
    "virtual_hosts": [
        {
            "name": "shop",
            "domains": ["shop.example.com"],
            "routes": [
                {"name": "moved", "match": {"path": "/old"}, "redirect": {"path_redirect": "/new"}},
                {"name": "canary", "match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": CANARY}}},
            ],
        },
        {"name": "secure", "domains": ["secure.example.com"], "require_tls": "ALL"},
    ],
}


def listener(name: str, port: int, *filters: dict[str, Any], tls: bool = False) -> dict[str, Any]:
    socket = {"transport_socket": {"name": "envoy.transport_sockets.tls"}} if tls else {}
    return {
        "name": name,
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}},
        "listener_filters": [{"name": "envoy.filters.listener.tls_inspector"}],
        "filter_chains": [{"name": name, "filters": [{"typed_config": each} for each in filters], **socket}],
    }


HTTP = {"@type": _MANAGER, "rds": {"route_config_name": "http.80"}}
LISTENERS = (
    listener("http", 80, HTTP),
    listener("https", 443, HTTP, tls=True),
    listener("tcp", 9000, {"@type": _TCP, "stat_prefix": "x", "cluster": "db"}),
)


def resources() -> ResourceSet:
    listeners = [Resource.make(LISTENER, m["name"], ParseDict(m, Listener()).SerializeToString()) for m in LISTENERS]
    route = Resource.make(ROUTE, "http.80", ParseDict(ROUTES, RouteConfiguration()).SerializeToString())
    return ResourceSet((Layer(LISTENER, listeners), Layer(ROUTE, [route])))


def way(port: int, host: str = "shop.example.com", path: str = "/", **fields: Any) -> Way:
    return find_way(resources(), Call(Direction.GATEWAY, "10.0.0.1", port, request=HttpRequest(host, path), **fields))


def test_a_request_comes_to_weighted_clusters() -> None:
    found = way(80)
    assert found == Way("http", "http", "http.80", "shop", "canary", (("v1", 0.9), ("v2", 0.1)))
    assert found.cluster == ""


def test_an_answer_of_envoys_own_has_no_cluster() -> None:
    found = way(80, path="/old")
    assert (found.route, found.clusters, found.failure) == ("moved", (), None)


def test_tls_is_terminated_where_the_chain_does_it_and_nowhere_else() -> None:
    assert way(443, tls=Tls("shop.example.com")).virtual_host == "shop"
    assert way(443).failure is Failure.TLS
    assert way(80, tls=Tls("shop.example.com")).failure is Failure.PROTOCOL
    assert way(9000, tls=Tls()).cluster == "db"


def test_where_it_ends_and_why() -> None:
    assert way(81).failure is Failure.NO_LISTENER
    assert way(80, application=Application.TCP).failure is Failure.PROTOCOL
    assert way(80, host="other.example.com").failure is Failure.NO_VIRTUAL_HOST
    assert way(80, host="secure.example.com").failure is Failure.TLS_REQUIRED
    assert way(443, host="secure.example.com", tls=Tls()).failure is Failure.NO_ROUTE


def test_how_a_cluster_chooses_is_said_by_name() -> None:
    weighed = {"typed_extension_config": {"name": "envoy.load_balancing_policies.client_side_weighted_round_robin"}}
    clusters: list[dict[str, Any]] = [
        {"name": "v1", "lb_policy": "RANDOM"},
        {"name": "v2", "load_balancing_policy": {"policies": [weighed]}},
    ]
    made = [Resource.make(CLUSTER, c["name"], ParseDict(c, Cluster()).SerializeToString()) for c in clusters]
    held = Held.of_resources(
        ResourceSet((*resources().layers(LISTENER), *resources().layers(ROUTE), Layer(CLUSTER, made)))
    )
    tape = Tape()
    request = HttpRequest("shop.example.com", "/")
    for _ in walk_proxy(Branch(tape), held, Call(Direction.GATEWAY, "10.0.0.1", 80, request=request)):
        pass
    said = {step.name: step.evidence["load_balancer"] for step in tape.trace().at(Stage.CLUSTER)}
    assert said == {"v1": "RANDOM", "v2": "CLIENT_SIDE_WEIGHTED_ROUND_ROBIN"}
