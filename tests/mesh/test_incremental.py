"""Whatever changes in whatever order: the result is that of a build from scratch, and nothing else is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pilotfish.config.manifest import Manifest
from pilotfish.derive import Graph
from pilotfish.envoy.owners import owners
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ORDER, ROUTE, SERVED
from pilotfish.envoy.values import ResourceSet
from pilotfish.mesh import inputs
from pilotfish.mesh.policy.policies import scope_of
from pilotfish.mesh.problems.across import problems
from pilotfish.mesh.registry.names import name_table
from pilotfish.model import ObjectRef, Problem, Proxy
from tests.mesh.meshes import (
    NETWORKING,
    destination_rule,
    graph_of,
    manifest,
    pod,
    proxy,
    ref,
    service,
    try_manifest,
    virtual_service,
)

NAMES = ("a", "b", "c")
PORTS = (
    [{"name": "http", "port": 80}],
    [{"name": "grpc", "port": 80, "targetPort": 8080}, {"name": "tcp", "port": 81}],
    [{"name": "any", "port": 80}],
)
PROXIES = (proxy(), proxy("a-0", address="10.244.0.10", app="a"), proxy("other", "shop"))

names = st.sampled_from(NAMES)
namespaces = st.sampled_from(("vm", "shop"))


EXPORTS = st.sampled_from(((), (".",), ("shop",), ("~",)))


@st.composite
def sidecars(draw: st.DrawFn, name: str, namespace: str) -> Manifest:
    hosts = st.sampled_from(("./*", "*/*", "shop/*", "vm/a.vm.svc.cluster.local", "*/www.example.com", "~vm/*", "~/*"))
    place: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
        ({"port": {"number": 80, "protocol": "HTTP"}}, {"port": {"number": 81, "protocol": "TCP"}},
         {"port": {"number": 82, "protocol": "HTTP"}, "captureMode": "NONE", "bind": "127.0.0.1"},
         {"port": {"number": 83, "protocol": "HTTP_PROXY"}, "captureMode": "NONE"},
         {"bind": "unix:///tmp/x", "port": {"protocol": "HTTP"}})
    )  # fmt: skip
    listeners = draw(st.lists(place, max_size=2, unique_by=str))
    named = st.lists(hosts, min_size=1, max_size=2, unique=True)
    spec: dict[str, Any] = {"egress": [{**each, "hosts": draw(named)} for each in (*listeners, {})]}
    host = st.sampled_from(("a.vm.svc.cluster.local", "www.example.com", "nobody.example.com"))
    if draw(st.booleans()):
        proxied = {"host": draw(host), "port": {"number": 80}}
        spec["outboundTrafficPolicy"] = {"mode": "ALLOW_ANY", "egressProxy": proxied}
    if draw(st.booleans()):
        spec["workloadSelector"] = {"labels": {"app": "a"}}
    if draw(st.booleans()):
        spec["ingress"] = [{"port": {"number": 8080, "protocol": "HTTP"}, "defaultEndpoint": "127.0.0.1:80"}]
    return manifest("Sidecar", name, namespace, NETWORKING, spec=spec)


SECURITY = "security.istio.io/v1"
SELECTORS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(({}, {"selector": {"matchLabels": {"app": "a"}}}))


@st.composite
def policies(draw: st.DrawFn, name: str, namespace: str) -> Manifest:
    spec = draw(SELECTORS) | {"action": draw(st.sampled_from(("ALLOW", "DENY", "AUDIT", "CUSTOM")))}
    if spec["action"] == "CUSTOM":
        spec["provider"] = {"name": "nobody"}
    operation = draw(st.sampled_from(({"paths": ["/a"]}, {"ports": ["80"]}, {"hosts": ["a"], "methods": ["GET"]})))
    spec["rules"] = [{"to": [{"operation": operation}]}]
    return manifest("AuthorizationPolicy", name, namespace, SECURITY, spec=spec)


@st.composite
def entries(draw: st.DrawFn, name: str, namespace: str) -> Manifest:
    protocols = draw(st.lists(st.sampled_from(("HTTP", "TCP", "TLS", "")), min_size=1, max_size=3))
    addresses = st.sampled_from(("10.96.0.1", "10.96.0.3", "10.0.0.0/8", "10.96.0.1/8", "fd00::1"))
    hosts = st.sampled_from(("www.example.com", "api.example.com", f"{name}.{namespace}.svc.cluster.local"))
    spec = {
        "hosts": draw(st.lists(hosts, min_size=1, max_size=2, unique=True)),
        "addresses": draw(st.lists(addresses, max_size=2, unique=True)),
        "resolution": draw(st.sampled_from(("NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN"))),
        "ports": [{"number": 80 + i, "name": f"p{i}", "protocol": p} for i, p in enumerate(protocols)],
    }
    if spec["resolution"] != "NONE":
        chosen = draw(st.lists(st.sampled_from(("10.244.0.10", "10.244.0.11")), max_size=2, unique=True))
        spec["endpoints"] = [{"address": a, "labels": {"version": "v1"}} for a in chosen]
    spec["exportTo"] = draw(EXPORTS)
    made = try_manifest("ServiceEntry", name, namespace, NETWORKING, spec=spec)
    assume(made)
    return made[0]


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """One object of a small world, so that changes often meet."""
    name, namespace = draw(names), draw(namespaces)
    kinds = ("Service", "Pod", "VirtualService", "DestinationRule", "ServiceEntry", "Sidecar", "Policy", "Tokens")
    match draw(st.sampled_from(kinds)):
        case "Policy":
            return draw(policies(name, draw(st.sampled_from((namespace, "istio-system")))))
        case "Tokens":
            issuers = draw(st.lists(st.sampled_from(("x", "y", "z")), max_size=2, unique=True))
            spec: dict[str, Any] = {"jwtRules": [{"issuer": each, "jwks": '{"keys": []}'} for each in issuers]}
            return manifest("RequestAuthentication", name, namespace, SECURITY, spec=spec | draw(SELECTORS))
        case "Sidecar":
            return draw(sidecars(name, draw(st.sampled_from((namespace, "istio-system")))))
        case "ServiceEntry":
            return draw(entries(name, namespace))
        case "Service":
            address = draw(st.sampled_from(("10.96.0.1", "10.96.0.2", "None")))
            return service(name, namespace, address, ports=draw(st.sampled_from(PORTS)))
        case "Pod":
            number, version = draw(st.integers(0, 2)), draw(st.sampled_from(("v1", "v2")))
            ready = draw(st.sampled_from((None, True, False)))
            return pod(f"{name}-{number}", f"10.244.0.1{number}", {"app": name, "version": version}, namespace, ready)
        case "VirtualService":
            targets = draw(
                st.dictionaries(st.sampled_from(("a", "b/v1", "c/v2", "nobody")), st.integers(1, 9), min_size=1)
            )
            host = draw(st.sampled_from((*NAMES, "*.svc.cluster.local", "www.example.com", "*.example.com")))
            exported = draw(EXPORTS)
            return virtual_service(name, host, targets, namespace, exported)
        case _:
            chosen = draw(st.sets(st.sampled_from(("v1", "v2"))))
            return destination_rule(name, draw(names), {v: {"version": v} for v in sorted(chosen)}, namespace)


Change = tuple[str, Manifest]
changes = st.lists(
    st.tuples(st.sampled_from(("apply", "apply", "apply", "delete", "reject", "close", "readmit")), manifests()),
    max_size=12,
)


@settings(max_examples=60)
@given(changes)
def test_a_sequence_of_changes_gives_what_a_build_from_scratch_gives(sequence: list[Change]) -> None:
    graph = Graph()
    applied: dict[ObjectRef, Manifest] = {}
    rejected: dict[ObjectRef, Manifest | None] = {}
    for what, changed in sequence:
        _change(graph, what, changed, applied, rejected)
        _ask(graph)
    fresh = Graph()
    inputs.apply(fresh, applied)
    for name, fallback in rejected.items():
        inputs.reject(fresh, name, fallback)
    assert _ask(graph) == _ask(fresh)


def _change(
    graph: Graph,
    what: str,
    changed: Manifest,
    applied: dict[ObjectRef, Manifest],
    rejected: dict[ObjectRef, Manifest | None],
) -> None:
    if what == "apply":
        applied[changed.ref] = changed
        inputs.apply(graph, {changed.ref: changed})
    elif what == "delete":
        applied.pop(changed.ref, None)
        inputs.apply(graph, {changed.ref: None})
    elif what in ("reject", "close"):
        rejected[changed.ref] = changed if what == "reject" else None
        inputs.reject(graph, changed.ref, rejected[changed.ref])
    else:
        rejected.pop(changed.ref, None)
        inputs.readmit(graph, changed.ref)


def _ask(graph: Graph) -> tuple[list[object], tuple[Problem, ...], str]:
    """Everything that anyone is handed: bodies, owners, names, problems."""
    sets = [resource_set(graph, asking) for asking in PROXIES]
    bodies = [
        (r.name, r.version, r.body, owners(graph, r)) for found in sets for t in ORDER for r in found.resources(t)
    ]
    versions = [graph.get(name_table, scope_of(graph, each)).version for each in PROXIES]
    return [*bodies], graph.get(problems), "".join(versions)


def _mesh(count: int = 20) -> Graph:
    """Services s0... with two pods each, a DestinationRule and a VirtualService."""
    made: list[Manifest] = []
    for i in range(count):
        name = f"s{i}"
        made.append(service(name, address=f"10.96.1.{i}"))
        made += [pod(f"{name}-{v}", f"10.244.{i}.{v}", {"app": name, "version": f"v{v}"}) for v in (1, 2)]
        made.append(destination_rule(name, name, {"v1": {"version": "v1"}, "v2": {"version": "v2"}}))
        made.append(virtual_service(name, name, {f"{name}/v1": 50, f"{name}/v2": 50}))
    return graph_of(*made)


def _versions(found: ResourceSet) -> Mapping[tuple[str, str], str]:
    return {(t, r.name): r.version for t in ORDER for r in found.resources(t)}


ONE = (proxy(),)
FIFTY = tuple(proxy("client", f"client{i}", f"10.244.200.{i}") for i in range(50))
"""Proxies of as many scopes."""


def _after(
    graph: Graph, changed: Manifest, asking: tuple[Proxy, ...] = ONE
) -> tuple[set[tuple[str, str]], dict[str, int]]:
    """The resources that one change made others for the first who asks, and the queries that ran for it."""
    before, *_ = [_versions(resource_set(graph, each)) for each in asking]
    graph.stats.reset()
    inputs.apply(graph, {changed.ref: changed})
    after, *_ = [_versions(resource_set(graph, each)) for each in asking]
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}, dict(graph.stats.ran)


def _of(ran: Mapping[str, int], *modules: str) -> set[str]:
    """Those of these modules' queries; a module that has none is no longer called so."""
    whole = _mesh(1)
    resource_set(whole, proxy())
    known = {name.partition(".")[0] for name in whole.stats.ran}
    assert known.issuperset(modules), f"there are only {sorted(known)}"
    return {name for name in ran if name.partition(".")[0] in modules}


HOST = "s7.vm.svc.cluster.local"


@pytest.mark.parametrize("asking", [ONE, FIFTY], ids=["one scope", "fifty scopes"])
def test_a_changed_endpoint_changes_its_load_assignments_alone(asking: tuple[Proxy, ...]) -> None:
    changed, ran = _after(_mesh(), pod("s7-1", "10.244.7.1", {"app": "s7", "version": "v1"}, ready=False), asking)
    assert changed == {(ENDPOINT, f"outbound|80||{HOST}"), (ENDPOINT, f"outbound|80|v1|{HOST}")}
    assert ran["endpoints.load_assignment"] == 3
    assert not _of(ran, "clusters", "routes", "virtual_hosts", "listeners")
    assert sum(ran.values()) <= 11


@pytest.mark.parametrize("asking", [ONE, FIFTY], ids=["one scope", "fifty scopes"])
def test_a_changed_virtual_service_changes_its_route_alone(asking: tuple[Proxy, ...]) -> None:
    changed, ran = _after(_mesh(), virtual_service("s7", "s7", {"s7/v1": 10, "s7/v2": 90}), asking)
    assert changed == {(ROUTE, "80")}
    assert ran["virtual_hosts.virtual_host"] == 1
    assert not _of(ran, "clusters", "endpoints", "listeners", "outbound")
    assert sum(ran.values()) <= 8


def test_a_changed_policy_changes_the_listeners_alone_of_whom_it_is_for() -> None:
    graph = _mesh()
    asking = (proxy("a-0", app="a"), *(proxy(f"b-{i}", address=f"10.244.9.{i}", app="b") for i in range(9)))

    def made(path: str) -> Manifest:
        spec = {"selector": {"matchLabels": {"app": "a"}}, "rules": [{"to": [{"operation": {"paths": [path]}}]}]}
        return manifest("AuthorizationPolicy", "p", "vm", SECURITY, spec=spec)

    changed, _ = _after(graph, made("/a"), asking)
    assert changed == {(LISTENER, "virtualInbound")}
    changed, ran = _after(graph, made("/b"), asking)
    assert changed == {(LISTENER, "virtualInbound")}
    assert (ran["guards.policy"], ran["guards.authorization"], ran["inbound.virtual_inbound"]) == (1, 2, 1)
    assert not _of(ran, "clusters", "endpoints", "routes", "listeners")
    assert sum(ran.values()) <= 9


def test_a_change_that_means_the_same_ends_where_it_is_lowered() -> None:
    """What was left to a default is written out; a policy's own default likewise."""
    graph = _mesh()
    retry_on = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
    route = [{"destination": {"host": "s7", "subset": f"v{v}", "port": {"number": 80}}, "weight": 50} for v in (1, 2)]
    retries = {"attempts": 2, "retryOn": retry_on}
    spec = {"hosts": [HOST], "gateways": ["mesh"], "http": [{"route": route, "retries": retries, "timeout": "0s"}]}
    changed, ran = _after(graph, manifest("VirtualService", "s7", "vm", NETWORKING, spec=spec))
    assert changed == set()
    assert ran["http_routes.http_routes"] == 1
    assert not {name for name in ran if name.startswith(("virtual_hosts.", "routes.", "resources."))}
    subsets = [{"name": f"v{v}", "labels": {"version": f"v{v}"}} for v in (2, 1)]
    policy = {"loadBalancer": {"simple": "LEAST_REQUEST"}, "connectionPool": {"tcp": {"maxConnections": 0}}}
    spec = {"host": HOST, "trafficPolicy": policy, "subsets": subsets}
    changed, ran = _after(graph, manifest("DestinationRule", "s7", "vm", NETWORKING, spec=spec))
    assert changed == set()
    assert ran["policies.policy"] == 1
    assert not {name for name in ran if name.startswith(("clusters.", "endpoints.", "resources."))}


@pytest.mark.parametrize("asking", [ONE, FIFTY], ids=["one scope", "fifty scopes"])
def test_a_new_service_builds_no_other_services_resources(asking: tuple[Proxy, ...]) -> None:
    new = service("new", address="10.96.2.1", ports=[{"name": "http", "port": 81}])
    changed, ran = _after(_mesh(), new, asking)
    name = "outbound|81||new.vm.svc.cluster.local"
    assert changed == {(CLUSTER, name), (ENDPOINT, name), (LISTENER, "0.0.0.0_81"), (ROUTE, "81")}
    assert ran["clusters.service_clusters"] == ran["endpoints.load_assignment"] == 1
    assert ran["virtual_hosts.virtual_host"] == 1


def test_scopes_that_differ_still_share_what_does_not() -> None:
    """Fifty namespaces, each with a service of its own, which it calls by a short name: so each has its own routes."""
    graph = _mesh()
    own = [service("own", f"client{i}", f"10.96.3.{i}") for i in range(50)]
    inputs.apply(graph, {made.ref: made for made in own})
    _, ran = _after(graph, virtual_service("s7", "s7", {"s7/v1": 10, "s7/v2": 90}), (*ONE, *FIFTY))
    assert ran["virtual_hosts.virtual_host"] == 2
    _, ran = _after(graph, pod("s7-1", "10.244.7.1", {"app": "s7", "version": "v1"}, ready=False), (*ONE, *FIFTY))
    assert ran["endpoints.load_assignment"] == 3
    assert ran["layers.endpoints"] == 1


def test_proxies_cost_no_query_of_their_own() -> None:
    graph = _mesh()
    many = tuple(proxy(f"client-{i}", address=f"10.244.201.{i}") for i in range(20))
    listed = [{"addresses": [{"ip": "10.244.201.3"}], "ports": [{"name": "http", "port": 80}]}]
    made = (service("listed", address="10.96.4.1", selector={}), manifest("Endpoints", "listed", subsets=listed))
    inputs.apply(graph, {each.ref: each for each in made})
    listed = [{"addresses": [{"ip": "10.244.201.4"}], "ports": [{"name": "http", "port": 80}]}]
    _, ran = _after(graph, manifest("Endpoints", "listed", subsets=listed), many)
    assert ran["endpoints.hosted"] == ran["inbound.inbound_ports"] == 2
    assert ran["endpoints.load_assignment"] == 1


def test_an_object_applied_again_runs_nothing() -> None:
    graph = _mesh()
    changed, ran = _after(graph, service("s7", address="10.96.1.7"))
    assert changed == set()
    assert ran == {}


def test_what_no_query_reads_runs_nothing() -> None:
    graph = _mesh()
    resource_set(graph, proxy())
    graph.stats.reset()
    assert inputs.reject(graph, ref("Service", "unheard-of"), None)
    resource_set(graph, proxy())
    assert graph.stats.ran == {}


def test_proxies_of_one_namespace_share_their_outbound_layers() -> None:
    graph = _mesh()
    one, two = (resource_set(graph, proxy(n, address=f"10.244.9.{i}")) for i, n in enumerate(("x", "y")))
    for type_url in (row.url for row in SERVED if not row.sensitive):
        assert one.layers(type_url)[0] is two.layers(type_url)[0]


def test_namespaces_share_the_resources_that_are_the_same_for_both() -> None:
    graph = _mesh()
    one, two = (resource_set(graph, proxy("x", namespace)) for namespace in ("vm", "shop"))
    for type_url in (CLUSTER, LISTENER, ENDPOINT):
        for name, resource in one.layers(type_url)[0].items():
            assert two.layers(type_url)[0][name] is resource


def test_clients_that_a_virtual_service_tells_apart_share_all_else() -> None:
    graph = _mesh()
    rules = [{"match": [{"sourceLabels": {"app": "x"}}], "route": [{"destination": {"host": "s8"}}]}]
    rules += [{"route": [{"destination": {"host": "s7"}}]}]
    made = manifest("VirtualService", "s7", "vm", NETWORKING, spec={"hosts": ["s7"], "http": rules})
    inputs.apply(graph, {made.ref: made})
    asking = (proxy("x", app="x", pod="1"), proxy("y", app="x", pod="2"), proxy("z", app="z"), proxy("u", app="u"))
    one, same, other, another = (resource_set(graph, each) for each in asking)
    assert one.layers(ROUTE)[0] is same.layers(ROUTE)[0]
    assert other.layers(ROUTE)[0] is another.layers(ROUTE)[0]
    assert one.get(ROUTE, "80") != other.get(ROUTE, "80")
    for type_url in (CLUSTER, LISTENER, ENDPOINT):
        assert one.layers(type_url)[0] is other.layers(type_url)[0]
    _, ran = _after(graph, virtual_service("s6", "s6", {"s6/v1": 10, "s6/v2": 90}), asking)
    assert ran["virtual_hosts.virtual_host"] == 1


def test_clients_whose_connections_are_told_apart_share_all_but_listeners() -> None:
    graph = _mesh()
    rules = [{"match": [{"sourceLabels": {"app": "x"}}], "route": [{"destination": {"host": "s8"}}]}]
    ports = [{"name": "tcp", "port": 5432}]
    for made in (
        manifest("Service", "db", "vm", "v1", spec={"clusterIP": "10.96.9.9", "ports": ports}),
        manifest("VirtualService", "db", "vm", NETWORKING, spec={"hosts": ["db"], "tcp": rules}),
    ):
        inputs.apply(graph, {made.ref: made})
    asking = (proxy("x", app="x", pod="1"), proxy("y", app="x", pod="2"), proxy("z", app="z"), proxy("u", app="u"))
    one, same, other, another = (resource_set(graph, each) for each in asking)
    assert one.layers(LISTENER)[0] is same.layers(LISTENER)[0]
    assert other.layers(LISTENER)[0] is another.layers(LISTENER)[0]
    assert one.get(LISTENER, "10.96.9.9_5432") != other.get(LISTENER, "10.96.9.9_5432")
    for type_url in (CLUSTER, ENDPOINT):
        assert one.layers(type_url)[0] is other.layers(type_url)[0]


def test_replicas_share_their_inbound_layers() -> None:
    graph = _mesh()
    one, two = (
        resource_set(graph, proxy(f"s7-{v}", address=f"10.244.7.{v}", app="s7", version=f"v{v}")) for v in (1, 2)
    )
    assert one == two
    assert one.layers(LISTENER)[1] is two.layers(LISTENER)[1]


def _scoped(count: int = 20) -> Graph:
    """The mesh above, of which the namespaces of `FIFTY` import one service each, by different routes."""
    graph = _mesh(count)
    for i, client in enumerate(FIFTY):
        spec = {"egress": [{"hosts": [f"vm/s{i % 5}.vm.svc.cluster.local"]}]}
        made = manifest("Sidecar", "default", client.namespace, NETWORKING, spec=spec)
        inputs.apply(graph, {made.ref: made})
    return graph


@pytest.mark.parametrize(
    "changed",
    [
        pod("s7-1", "10.244.7.1", {"app": "s7", "version": "v1"}, ready=False),
        virtual_service("s7", "s7", {"s7/v1": 10, "s7/v2": 90}),
        service("s7", address="10.96.1.7", ports=[{"name": "http", "port": 80}, {"name": "tcp", "port": 81}]),
    ],
    ids=["endpoint", "virtual service", "service"],
)
def test_a_change_out_of_a_scope_runs_nothing_there_and_changes_nothing(changed: Manifest) -> None:
    changes, ran = _after(_scoped(), changed, FIFTY)
    assert changes == set()
    assert not _of(ran, "resources", "clusters", "endpoints", "virtual_hosts", "listeners", "routes")
    assert sum(ran.values()) <= 12, ran


def test_a_change_in_some_scopes_changes_it_there_alone() -> None:
    graph = _scoped()
    before = [resource_set(graph, each) for each in FIFTY]
    changed = virtual_service("s3", "s3", {"s3/v1": 10, "s3/v2": 90})
    inputs.apply(graph, {changed.ref: changed})
    moved = [i for i, each in enumerate(FIFTY) if resource_set(graph, each) != before[i]]
    assert moved == [i for i in range(50) if i % 5 == 3]


def test_a_new_service_out_of_a_scope_changes_nothing_there() -> None:
    changes, ran = _after(_scoped(), service("s99", address="10.96.1.99"), FIFTY)
    assert changes == set()
    assert not _of(ran, "resources", "clusters", "endpoints", "virtual_hosts", "listeners", "routes")
