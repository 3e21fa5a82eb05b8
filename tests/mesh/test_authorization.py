"""Which policies hold where, what becomes of those that can't be used, and what their authors are told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pilotfish.config.manifest import Manifest
from pilotfish.config.meshconfig import load_mesh_config
from pilotfish.derive import Graph
from pilotfish.mesh import inputs
from pilotfish.mesh.policy.policies import scope_of
from pilotfish.mesh.problems.across import problems
from pilotfish.mesh.security.guards import Guard, authentication, authorization, guard_of
from pilotfish.mesh.security.keys import apply_keys, wanted_keys
from pilotfish.model import Problem, Proxy
from pilotfish.model.authentication import Keys
from pilotfish.model.authorization import EVERYTHING, Action, Authorization, Unusable
from pilotfish.model.proxy import ProxyType
from tests.mesh.meshes import NETWORKING, graph_of, manifest, pod, proxy, service

SECURITY = "security.istio.io/v1"
WEB = pod("web-0", "10.244.0.2", {"app": "web"})


def policy(name: str, namespace: str = "vm", created: str = "", **spec: Any) -> Manifest:
    return manifest("AuthorizationPolicy", name, namespace, SECURITY, created=created, spec=spec)


def tokens(name: str, namespace: str = "vm", **spec: Any) -> Manifest:
    return manifest("RequestAuthentication", name, namespace, SECURITY, spec=spec)


def selecting(**labels: str) -> dict[str, Any]:
    return {"selector": {"matchLabels": labels}}


def guard(graph: Graph, asking: Proxy) -> Guard:
    return guard_of(graph, asking, scope_of(graph, asking))


def asked(graph: Graph, asking: Proxy, has_requests: bool = True) -> Authorization:
    return graph.get(authorization, guard(graph, asking), has_requests)


def test_policies_of_the_root_namespace_and_of_its_own_hold_for_a_workload_the_oldest_first() -> None:
    graph = graph_of(
        policy("young", created="2021-01-01T00:00:00Z"),
        policy("old", created="2020-01-01T00:00:00Z", **selecting(app="web")),
        policy("other-label", **selecting(app="db")),
        policy("other-namespace", "shop"),
        policy("root", "istio-system", **selecting(app="web")),
        policy("root-other", "istio-system", **selecting(app="db")),
    )
    found = guard(graph, proxy("web-0", app="web"))
    assert [ref.name for ref in found.policies] == ["root", "old", "young"]
    assert [ref.name for ref in guard(graph, proxy("web-0", "shop", app="web")).policies] == ["root", "other-namespace"]
    assert [ref.name for ref in guard(graph, proxy("x", "istio-system", app="db")).policies] == ["root-other"]


def test_labels_that_the_mesh_knows_count_before_those_that_a_proxy_says() -> None:
    graph = graph_of(policy("p", **selecting(app="web")), pod("web-0", "10.244.0.2", {"app": "web"}))
    assert guard(graph, proxy("web-0", app="something else")).policies != ()


def test_targets_are_gateways_of_the_gateway_api() -> None:
    target = {"kind": "Gateway", "group": "gateway.networking.k8s.io", "name": "edge"}
    graph = graph_of(policy("p", targetRef=target))
    labels = {"gateway.networking.k8s.io/gateway-name": "edge"}
    gateway = Proxy.of_pod("edge-0", "vm", ("10.244.0.9",), labels=labels, type=ProxyType.ROUTER)
    assert guard(graph, gateway).policies != ()
    assert guard(graph, proxy("web-0")).policies == ()


def test_replicas_and_whoever_no_policy_is_for_share() -> None:
    graph = graph_of(policy("p", **selecting(app="web")))
    one, two = (guard(graph, proxy(f"web-{i}", address=f"10.244.0.{i}", app="web")) for i in (1, 2))
    assert one == two
    assert guard(graph, proxy("db-0", app="db")) == Guard()
    assert guard(graph_of(), proxy("web-0", app="web")) == Guard()


@pytest.mark.parametrize("kind", ["policy", "tokens"])
def test_a_policy_that_envoy_refuses_closes_what_it_is_for(kind: str) -> None:
    made = policy("p", **selecting(app="web")) if kind == "policy" else tokens("p", **selecting(app="web"))
    graph = graph_of(made)
    inputs.reject(graph, made.ref, None)
    for has_requests in (True, False):
        (verdict,) = asked(graph, proxy("web-0", app="web"), has_requests).verdicts
        assert verdict.action is Action.DENY
        assert [(rule.targets, rule.callers) for rule in verdict.rules or ()] == [(EVERYTHING, EVERYTHING)]
    assert asked(graph, proxy("db-0", app="db")) == Authorization()
    inputs.reject(graph, made.ref, made)
    assert {verdict.action for verdict in asked(graph, proxy("web-0", app="web")).verdicts} <= {Action.ALLOW}
    inputs.readmit(graph, made.ref)
    assert {verdict.action for verdict in asked(graph, proxy("web-0", app="web")).verdicts} <= {Action.ALLOW}


PROVIDER = "extensionProviders: [{{name: p, envoyExtAuthz{kind}: {{service: {service}, port: {port}}}}}]"
CUSTOM: dict[str, Any] = {"action": "CUSTOM", "provider": {"name": "p"}, "rules": [{}]}


def with_config(graph: Graph, text: str) -> Graph:
    config, _ = load_mesh_config(text, "mesh.yaml")
    assert config is not None
    inputs.apply_mesh_config(graph, config)
    return graph


@pytest.mark.parametrize(
    ("service_name", "port", "said"),
    [
        ("authz.vm.svc.cluster.local", 80, ""),
        ("vm/authz.vm.svc.cluster.local", 80, ""),
        ("shop/authz.vm.svc.cluster.local", 80, "there is no service"),
        ("nobody.vm.svc.cluster.local", 80, "there is no service"),
        ("authz.vm.svc.cluster.local", 81, "has no port 81"),
        ("headless.vm.svc.cluster.local", 80, "go where their clients say"),
    ],
)
def test_providers_that_can_not_be_asked(service_name: str, port: int, said: str) -> None:
    headless = service("headless", address="None", ports=[{"name": "tcp", "port": 80}])
    graph = graph_of(policy("p", **CUSTOM), service("authz"), headless, WEB)
    with_config(graph, PROVIDER.format(kind="Grpc", service=service_name, port=port))
    (found,) = asked(graph, proxy("web-0")).custom
    assert isinstance(found.provider, Unusable) is bool(said)
    if isinstance(found.provider, Unusable):
        assert said in found.provider.reason
    reasons = {problem.reason for problem in graph.get(problems)}
    assert ("UnusableProvider" in reasons) is bool(said)


def test_a_provider_that_a_sidecar_hides_can_not_be_asked() -> None:
    spec = {"egress": [{"hosts": ["shop/*"]}]}
    graph = graph_of(policy("p", **CUSTOM), service("authz"), manifest("Sidecar", "s", "vm", NETWORKING, spec=spec))
    with_config(graph, PROVIDER.format(kind="Grpc", service="authz.vm.svc.cluster.local", port=80))
    (found,) = asked(graph, proxy("web-0")).custom
    assert isinstance(found.provider, Unusable)
    assert "hides it" in found.provider.reason


def test_where_one_of_several_providers_can_not_be_asked_all_is_refused() -> None:
    graph = graph_of(
        policy("one", **CUSTOM), policy("two", **(CUSTOM | {"provider": {"name": "q"}})), service("authz"), WEB
    )
    with_config(graph, PROVIDER.format(kind="Http", service="authz.vm.svc.cluster.local", port=80))
    found = asked(graph, proxy("web-0")).custom
    assert [each.provider.name for each in found] == ["p", "q"]
    assert all(isinstance(each.provider, Unusable) for each in found)


def test_connections_are_not_asked_about_over_http() -> None:
    graph = graph_of(policy("p", **CUSTOM), service("authz"), WEB)
    with_config(graph, PROVIDER.format(kind="Http", service="authz.vm.svc.cluster.local", port=80))
    assert asked(graph, proxy("web-0"), has_requests=False) == Authorization()
    assert len(asked(graph, proxy("web-0")).custom) == 1


def said(graph: Graph) -> list[tuple[str, str]]:
    """(reason, field) of the Problems of policies."""
    found: list[Problem] = [*graph.get(problems)]
    kinds = ("AuthorizationPolicy", "RequestAuthentication", "VirtualService")
    return [(p.reason, p.field) for p in found if p.ref is not None and p.ref.kind.name in kinds]


def rules(**rule: Any) -> dict[str, Any]:
    return {"rules": [rule]}


def to(**operation: Any) -> dict[str, Any]:
    return {"to": [{"operation": operation}]}


def source(**source: Any) -> dict[str, Any]:
    return {"from": [{"source": source}]}


OPERATION = "spec.rules[0].to[0].operation"
SOURCE = "spec.rules[0].from[0].source"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"action": "DENY", **rules(**to(paths=["/admin"], ports=["80"]))},
            [("EvadablePath", f"{OPERATION}.paths[0]")],
        ),
        ({"action": "ALLOW", **rules(**to(paths=["/public"]))}, []),
        ({"action": "ALLOW", **rules(**to(notPaths=["/admin"]))}, [("EvadablePath", f"{OPERATION}.notPaths[0]")]),
        ({"action": "DENY", **rules(**to(hosts=["a.b"], ports=["80"]))}, [("EvadableHost", f"{OPERATION}.hosts[0]")]),
        ({"action": "DENY", **rules(**to(hosts=["a.b", "a.b:*"], ports=["80"]))}, []),
        ({"action": "ALLOW", **rules(**to(notHosts=["a.b"]))}, [("EvadableHost", f"{OPERATION}.notHosts[0]")]),
        (
            {"action": "ALLOW", **rules(when=[{"key": "remote.ip", "values": ["10.0.0.1"]}])},
            [("ForgeableAddress", "spec.rules[0].when[0].values")],
        ),
        (
            {"action": "ALLOW", **rules(when=[{"key": "request.auth.claims[a]", "values": ["b"]}])},
            [("NoTokens", "spec.rules[0].when[0].values")],
        ),
        ({"action": "ALLOW", **selecting(app="nobody")}, [("NoWorkloads", "spec.selector")]),
        (
            {"action": "ALLOW", **rules(**source(namespaces=["vm", "v*", "*m", "*", "vmm", "*-vm", "w*"]))},
            [("UnknownNamespace", f"{SOURCE}.namespaces[{index}]") for index in (4, 5, 6)],
        ),
        (
            {"action": "DENY", **rules(**source(notNamespaces=["quiet", "no"]))},
            [("UnknownNamespace", f"{SOURCE}.notNamespaces[1]")],
        ),
        (
            {"targetRef": {"kind": "Service", "name": "web"}},
            [("NoWorkloads", "spec.targetRefs")],
        ),
    ],
)
def test_what_may_not_be_as_its_author_thinks_is_said(spec: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    declared = manifest("Namespace", "quiet", "", "v1")
    assert said(graph_of(policy("p", **spec), WEB, service("web"), declared)) == expected


def test_what_is_said_of_paths_depends_on_what_is_done_to_them() -> None:
    graph = graph_of(policy("p", action="DENY", **rules(**to(paths=["/admin"], ports=["80"]))), WEB)
    with_config(graph, "pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}")
    (problem,) = graph.get(problems)
    assert (problem.reason, str(problem.severity)) == ("EvadablePath", "info")


def test_a_rule_that_looks_at_requests_closes_a_tcp_port() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "tcp", "port": 90}]
    graph = graph_of(policy("p", **rules(**to(methods=["GET"]))), WEB, service("web", ports=ports))
    assert said(graph) == [("DeniesConnections", f"{OPERATION}.methods")]
    (verdict,) = asked(graph, proxy("web-0", app="web"), has_requests=False).verdicts
    assert verdict.rules == ()


@pytest.mark.parametrize(
    ("key", "is_usable"),
    [
        ({"kty": "RSA", "n": "abc", "e": "def"}, False),
        ({"kty": "RSA", "n": "8" * 199 + "9", "e": "AQAB"}, True),
        ({"kty": "RSA", "alg": "ES256", "n": "8" * 199 + "9", "e": "AQAB"}, False),
        ({"kty": "EC", "crv": "P-256", "x": "x", "y": "y"}, False),
        ({"kty": "oct", "k": "c2VjcmV0"}, True),
        ({"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}, True),
        ({"kty": "OKP", "crv": "X25519", "x": "A" * 43}, False),
        ({"kty": "other"}, False),
    ],
)
def test_keys_that_envoy_would_refuse_are_none(key: dict[str, str], is_usable: bool) -> None:
    text = json.dumps({"keys": [key]})
    graph = graph_of(tokens("t", jwtRules=[{"issuer": "x", "jwks": text}]), WEB)
    assert said(graph) == ([] if is_usable else [("UnusableKeys", "spec.jwtRules[0].jwks")])
    (found,) = graph.get(authentication, guard(graph, proxy("web-0", app="web")))
    assert found.keys == (text if is_usable else "")


def test_keys_that_are_not_there_are_said() -> None:
    graph = graph_of(tokens("t", jwtRules=[{"issuer": "x", "jwksUri": "https://x.example.com/keys"}]), WEB)
    field = "spec.jwtRules[0].jwksUri"
    assert said(graph) == [("KeysNotFetched", field)]
    (source,) = graph.get(wanted_keys)
    for keys, expected in (
        (Keys(fault="404"), [("KeysUnavailable", field)]),
        (Keys("{}"), []),
        (Keys("{}", "404"), [("KeysNotRenewed", field)]),
    ):
        apply_keys(graph, source, keys)
        assert said(graph) == expected


def test_routes_by_claims_that_nobody_verifies_are_said() -> None:
    gateway_spec = {
        "selector": {"istio": "edge"},
        "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
    }
    match = [{"headers": {"@request.auth.claims.group": {"exact": "a"}}}]
    spec = {
        "hosts": ["x.example.com"],
        "gateways": ["g"],
        "http": [{"match": match, "route": [{"destination": {"host": "web"}}]}],
    }
    made = (
        manifest("Gateway", "g", "vm", NETWORKING, spec=gateway_spec),
        manifest("VirtualService", "v", "vm", NETWORKING, spec=spec),
        service("web"),
        pod("edge-0", "10.244.0.9", {"istio": "edge"}),
    )
    field = "spec.http[0].match[0].headers[@request.auth.claims.group]"
    assert ("NoTokens", field) in said(graph_of(*made))
    covered = tokens("t", jwtRules=[{"issuer": "x", "jwks": '{"keys": []}'}])
    assert ("NoTokens", field) not in said(graph_of(*made, covered))
