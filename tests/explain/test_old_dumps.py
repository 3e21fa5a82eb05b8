"""Dumps of Envoy's API v2: those of the text that pilotfish comes from give the way that it tells, step for step.

`seed/` has them as the text prints them, with what it leaves out: v1's cluster and where its pod is, which it names and
does not show.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.route.v3.route_components_pb2 import Route, RouteMatch
from google.protobuf.json_format import ParseDict

from pilotfish.capture import parse_iptables
from pilotfish.explain.ask import parse
from pilotfish.explain.call import HttpRequest
from pilotfish.explain.dumps import Dumped, build_scene
from pilotfish.explain.held import Held
from pilotfish.explain.matchers import Holds
from pilotfish.explain.old_dumps import upgrade
from pilotfish.explain.routes import match_route
from pilotfish.explain.trace import End, Stage, Trace, Verdict
from pilotfish.explain.walk import explain

SEED = Path(__file__).parent / "seed"
HOST = "calculator.vm.svc.cluster.local"
CAPTURE = """\
*nat
:ISTIO_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
-A OUTPUT -p tcp -j ISTIO_OUTPUT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
COMMIT
"""


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SEED / f"{name}.json").read_text())
    return found


def way(to: str, **options: Any) -> Trace:
    client = Dumped(read("webapp.config_dump"), read("webapp.clusters"), parse_iptables(CAPTURE))
    scene, caller = build_scene(client, Dumped(read("calculator.config_dump")))
    return explain(scene, caller, parse(to, **options))


def test_the_seed_s_way_step_for_step() -> None:
    trace = way("http://calculator.vm:8888/add")
    v2 = trace.outcomes[1]
    steps, at = list[tuple[str, str, str]](), v2.last_step
    while len(steps) < len(trace.steps):
        step = trace.steps[at]
        steps.append((step.side.value, step.stage.value, step.name))
        if step.parent is None:
            break
        at = step.parent
    assert steps[::-1] == [
        ("client", "dns", HOST),
        ("client", "netfilter", "nat/ISTIO_REDIRECT/1"),
        ("client", "listener", "virtualOutbound"),
        ("client", "listener", "0.0.0.0_8888"),
        ("client", "filter_chain", "(without a name)"),
        ("client", "network_filter", "http_connection_manager"),
        ("client", "route_config", "8888"),
        ("client", "virtual_host", f"{HOST}:8888"),
        ("client", "route", "route 1"),
        ("client", "http_filter", "mixer"),
        ("client", "cluster", f"outbound|8888|v2|{HOST}"),
        ("client", "endpoint", "192.144.99.163:8888"),
        ("client", "netfilter", "nat/ISTIO_OUTPUT/1"),
        ("server", "netfilter", "nat/ISTIO_IN_REDIRECT/1"),
        ("server", "listener", "virtualInbound"),
        ("server", "filter_chain", "(without a name)"),
        ("server", "network_filter", "http_connection_manager"),
        ("server", "route_config", f"inbound|8888|grpc|{HOST}"),
        ("server", "virtual_host", "inbound|http|8888"),
        ("server", "route", "default"),
        ("server", "http_filter", "mixer"),
        ("server", "cluster", f"inbound|8888|grpc|{HOST}"),
        ("server", "endpoint", "127.0.0.1:8888"),
        ("server", "app", "127.0.0.1:8888"),
    ]
    assert v2.cause == "what the filter mixer does is not known here; if it lets this pass: the app answers"
    assert [(each.kind, each.probability, each.cluster) for each in trace.outcomes] == [
        (End.UNKNOWN, 0.5, f"outbound|8888|{version}|{HOST}") for version in ("v1", "v2")
    ]


def test_what_the_seed_s_listeners_do_with_other_connections() -> None:
    """A pod of another address, an unknown host, and the pod's own address on the way out."""
    assert [s.name for s in way("tcp://10.9.9.9:1").at(Stage.CLUSTER)] == ["PassthroughCluster"]
    unknown = way("http://10.106.45.142:8888/", headers=["Host: nobody"])
    assert [s.name for s in unknown.at(Stage.VIRTUAL_HOST)] == ["allow_any"]
    own = way("tcp://10.244.2.73:8888")
    assert [s.name for s in own.at(Stage.CLUSTER)] == ["BlackHoleCluster"]
    assert [(o.kind, o.flag) for o in own.outcomes] == [(End.RESET, "UH")]


def test_a_filter_is_unknown_and_what_comes_before_it_is_not() -> None:
    trace = way("http://calculator.vm:8888/add")
    first = trace.at(Stage.HTTP_FILTER)[0]
    assert {step.verdict for step in trace.steps if step.id < first.id} == {Verdict.TAKEN}
    assert {step.verdict for step in trace.steps if step.id >= first.id} == {Verdict.UNKNOWN}


def test_whose_a_step_is() -> None:
    """The object alone: Istio said no more."""
    configs = {s.written.config for s in way("http://calculator.vm:8888/").at(Stage.ENDPOINT) if s.side == "client"}
    assert configs == {"/apis/networking/v1alpha3/namespaces/vm/destination-rule/calculator"}


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        ({"regex": "/a.*"}, Holds.YES),
        ({"regex": "/b.*"}, Holds.NO),
        ({"prefix": "/", "headers": [{"name": "user", "exact_match": "jason"}]}, Holds.YES),
        ({"prefix": "/", "headers": [{"name": "user", "regex_match": "j.*"}]}, Holds.YES),
        ({"prefix": "/", "headers": [{"name": "user", "prefix_match": "x"}]}, Holds.NO),
        ({"prefix": "/", "headers": [{"name": "user", "suffix_match": "n", "invert_match": True}]}, Holds.NO),
        ({"prefix": "/", "query_parameters": [{"name": "x", "value": "1"}]}, Holds.YES),
        ({"prefix": "/", "query_parameters": [{"name": "x", "value": "[2-9]", "regex": True}]}, Holds.NO),
    ],
)
def test_matches(match: dict[str, Any], holds: Holds) -> None:
    route = ParseDict(upgrade({"match": match, "route": {"cluster": "a"}}), Route())
    assert match_route(route.match, HttpRequest("a", "/a?x=1", headers={"user": "jason"}))[0] is holds


def test_what_v3_has_under_other_names() -> None:
    cluster = ParseDict(
        upgrade(
            {
                "name": "a",
                "hosts": [{"socket_address": {"address": "10.0.0.1", "port_value": 80}}],
                "lb_policy": "ORIGINAL_DST_LB",
                "tls_context": {"sni": "a.example"},
            }
        ),
        Cluster(),
    )
    assert cluster.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value == 80
    assert cluster.lb_policy == Cluster.CLUSTER_PROVIDED
    assert cluster.transport_socket.typed_config.type_url.endswith("tls.v3.UpstreamTlsContext")
    chain = ParseDict(
        upgrade(
            {"filters": [{"name": "envoy.tcp_proxy", "config": {"cluster": "a"}}, {"name": "acme", "config": {}}],
             "tls_context": {"common_tls_context": {}}}
        ),
        FilterChain(),
    )  # fmt: skip
    assert [each.name for each in chain.filters] == ["envoy.filters.network.tcp_proxy", "acme"]
    assert chain.filters[0].typed_config.type_url.endswith("tcp_proxy.v3.TcpProxy")
    assert chain.transport_socket.typed_config.type_url.endswith("tls.v3.DownstreamTlsContext")


def test_a_fault_and_cors_are_read() -> None:
    routes = [
        {
            "match": {"prefix": "/fault"},
            "route": {"cluster": "a"},
            "per_filter_config": {
                "envoy.fault": {"abort": {"http_status": 418, "percentage": {"numerator": 100}}},
                "mixer": {"disable_check_calls": True},
            },
        },
        {"match": {"prefix": "/"}, "route": {"cluster": "a", "cors": {"allow_origin": ["http://a"]}}},
    ]
    manager = {
        "stat_prefix": "x",
        "http_filters": [{"name": "envoy.cors"}, {"name": "envoy.fault"}, {"name": "envoy.router"}],
        "route_config": {"name": "r", "virtual_hosts": [{"name": "h", "domains": ["*"], "routes": routes}]},
    }
    listener = {
        "name": "l",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}},
        "filter_chains": [{"filters": [{"name": "envoy.http_connection_manager", "config": manager}]}],
    }
    dump = Dumped({"configs": [{"dynamic_active_listeners": [{"listener": listener}]}]})
    scene, client = build_scene(dump)
    assert client is None, "an Envoy that captures nothing is called itself"
    asked = parse(
        "http://a/",
        method="OPTIONS",
        headers=["Origin: http://a", "Access-Control-Request-Method: GET"],
    )
    ends = [explain(scene, None, ask).outcomes[0] for ask in (parse("http://a/fault"), asked, parse("http://a/"))]
    assert [(end.kind, end.status, end.flag) for end in ends] == [
        (End.RESPONSE, 418, "FI"),
        (End.RESPONSE, 200, ""),
        (End.RESPONSE, 503, "NC"),
    ]


def test_v3_comes_out_as_it_went_in(conformance: Path) -> None:
    dump = json.loads((conformance / "istio" / "allow-any" / "webapp-0.config_dump.json").read_text())
    held = Held.of_dump(dump)
    changed = [
        entry["route_config"]
        for config in dump["configs"]
        for entry in config.get("dynamic_route_configs", ())
        if upgrade(entry["route_config"]) != entry["route_config"]
    ]
    assert changed == []
    assert held.route("8888") is not None
    assert ParseDict(upgrade({"prefix": "/"}), RouteMatch()).prefix == "/"
