"""Which DestinationRules a client applies: who sees them, whom they select, and what several come to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.derive import Graph
from pilotfish.mesh import inputs
from pilotfish.mesh.policy.policies import policed, policy, rules_for, scope_of
from pilotfish.mesh.problems.across import problems
from pilotfish.mesh.scope import EVERYONE
from pilotfish.model.traffic_policy import DestinationPolicy
from tests.mesh.meshes import NETWORKING, graph_of, manifest, proxy, service

WEB = "web.vm.svc.cluster.local"


def rule(name: str, namespace: str = "vm", host: str = WEB, created: int = 1, **spec: Any) -> Manifest:
    """Known again by a subset of its name."""
    given = {"host": host, "subsets": [{"name": name}], **spec}
    return manifest("DestinationRule", name, namespace, NETWORKING, created=f"2026-01-01T00:00:0{created}Z", spec=given)


def mesh(*rules: Manifest) -> Graph:
    return graph_of(service("web"), *rules)


def applied(graph: Graph, namespace: str, **labels: str) -> DestinationPolicy:
    scope = graph.get(policed, scope_of(graph, proxy("client", namespace, **labels)))
    return graph.get(policy, graph.get(rules_for, scope, WEB))


def names(graph: Graph, namespace: str, **labels: str) -> list[str]:
    return [subset.name for subset in applied(graph, namespace, **labels).subsets]


@pytest.mark.parametrize(
    ("rules", "by_namespace"),
    [
        ([rule("own", "shop"), rule("theirs"), rule("root", "istio-system")],
         {"shop": ["own"], "vm": ["theirs"], "other": ["theirs"], "istio-system": ["theirs"]}),
        ([rule("theirs", exportTo=["."]), rule("root", "istio-system")],
         {"shop": ["root"], "vm": ["theirs"], "istio-system": ["root"]}),
        ([rule("theirs", exportTo=["shop"])], {"shop": ["theirs"], "vm": [], "other": []}),
        ([rule("own", "shop", exportTo=["other"]), rule("theirs")], {"shop": ["theirs"], "other": ["theirs"]}),
        ([rule("wide", host="*.vm.svc.cluster.local"), rule("narrow", exportTo=["."])],
         {"vm": ["narrow"], "shop": ["wide"]}),
        ([rule("root", "istio-system", exportTo=["."])], {"shop": [], "istio-system": ["root"]}),
    ],
    ids=["the nearest", "kept to itself", "shown to one", "shown to others only", "a wildcard", "the root's own"],
)  # fmt: skip
def test_a_client_sees(rules: list[Manifest], by_namespace: dict[str, list[str]]) -> None:
    graph = mesh(*rules)
    assert {namespace: names(graph, namespace) for namespace in by_namespace} == by_namespace


def test_a_mesh_may_keep_rules_to_their_namespaces_unless_they_say_otherwise() -> None:
    graph = mesh(rule("kept"), rule("shown", created=2, exportTo=["*"]))
    inputs.apply_mesh_config(graph, MeshConfig(default_destination_rule_export_to=(".",)))
    assert (names(graph, "vm"), names(graph, "shop")) == (["kept", "shown"], ["shown"])


def test_a_rule_for_some_workloads_goes_before_those_for_all_there() -> None:
    graph = mesh(
        rule("all"),
        rule("chosen", created=2, workloadSelector={"matchLabels": {"app": "a"}}),
        rule("younger", created=3, workloadSelector={"matchLabels": {"app": "a"}}),
        rule("more", created=4, workloadSelector={"matchLabels": {"app": "a", "tier": "x"}}),
    )
    assert names(graph, "vm", app="a") == ["chosen", "younger"]
    assert names(graph, "vm", app="a", tier="x") == ["chosen", "younger"], "the oldest decides by what is selected"
    assert names(graph, "vm", app="b") == ["all"]
    assert names(graph, "shop", app="a") == ["all"]


def test_rules_that_select_alike_are_merged_and_what_is_lost_is_said() -> None:
    way = {"loadBalancer": {"simple": "RANDOM"}}
    chosen: Any = {"workloadSelector": {"matchLabels": {"app": "a"}}, "trafficPolicy": way}
    graph = mesh(rule("all", trafficPolicy=way), rule("first", **chosen), rule("second", created=2, **chosen))
    said = [p.ref.name for p in graph.get(problems) if p.reason == "ConflictingDestinationRule" and p.ref]
    assert said == ["second"]


def test_namespaces_that_are_shown_the_same_share_it() -> None:
    graph = mesh(rule("theirs", exportTo=["shop"]))
    scopes = {n: graph.get(policed, scope_of(graph, proxy("client", n))) for n in ("other", "vm", "shop")}
    assert scopes["other"] == scopes["vm"] == EVERYONE != scopes["shop"]


def test_of_several_the_first_policy_counts_and_the_others_are_said() -> None:
    one, two = ({"loadBalancer": {"simple": way}} for way in ("RANDOM", "ROUND_ROBIN"))
    graph = mesh(
        rule("plain"), rule("first", created=2, trafficPolicy=one), rule("second", created=3, trafficPolicy=two)
    )
    found = applied(graph, "vm")
    assert found.of("", 80).load_balancer == "RANDOM"
    assert [subset.name for subset in found.subsets] == ["first", "plain", "second"]
    said = [(p.ref.name, p.field) for p in graph.get(problems) if p.reason == "ConflictingDestinationRule" and p.ref]
    assert said == [("second", "spec.trafficPolicy")]


PORT = {"port": {"number": 80}}
FEW, MANY = ({"http": {"http2MaxRequests": number}} for number in (1, 9))


@pytest.mark.parametrize(
    ("base", "over", "limit", "balancer"),
    [
        ({"connectionPool": FEW}, {"loadBalancer": {"simple": "RANDOM"}}, 1, "RANDOM"),
        ({"connectionPool": FEW}, {"connectionPool": MANY}, 9, "LEAST_REQUEST"),
        ({"connectionPool": FEW, "portLevelSettings": [{**PORT, "loadBalancer": {"simple": "RANDOM"}}]},
         {"tls": {}}, None, "RANDOM"),
        ({"portLevelSettings": [{**PORT, "connectionPool": FEW}]}, {"connectionPool": MANY}, 9, "LEAST_REQUEST"),
        ({"portLevelSettings": [{**PORT, "connectionPool": FEW}]},
         {"portLevelSettings": [{**PORT, "loadBalancer": {"simple": "RANDOM"}}]}, None, "RANDOM"),
        ({"connectionPool": FEW}, {"portLevelSettings": [{**PORT, "tls": {}}], "loadBalancer": {"simple": "RANDOM"}},
         None, "LEAST_REQUEST"),
    ],
    ids=["added", "replaced", "a port of the rule", "over that port", "a port of both", "a port of the subset"],
)  # fmt: skip
def test_port_over_subset_over_rule(base: object, over: object, limit: int | None, balancer: str) -> None:
    subsets = [{"name": "v1", "trafficPolicy": over}]
    found = applied(mesh(rule("web", trafficPolicy=base, subsets=subsets)), "vm").of("v1", 80)
    assert (found.connection_pool.max_requests, found.load_balancer) == (limit, balancer)


ZONED = {"trafficPolicy": {"loadBalancer": {"zoneAwareLbSetting": {"enabled": True}}}}
TOLD = {"proxyMetadata": {"ISTIO_META_ENABLE_SELF_DISCOVERY": "true"}}


@pytest.mark.parametrize(
    ("policy", "config", "annotation", "said"),
    [
        (ZONED, {}, "", True),
        (ZONED, TOLD, "", False),
        (ZONED, {}, "proxyMetadata: {ISTIO_META_ENABLE_SELF_DISCOVERY: 'true'}", False),
        ({"trafficPolicy": {"loadBalancer": {"zoneAwareLbSetting": {"enabled": False}}}}, {}, "", False),
    ],
)
def test_zones_that_no_proxy_compares_are_a_problem(
    policy: dict[str, Any], config: dict[str, Any], annotation: str, said: bool
) -> None:
    pod = manifest(
        "Pod",
        "web-0",
        "vm",
        "v1",
        annotations={"proxy.istio.io/config": annotation},
        spec={"containers": [{"name": "app", "command": ["x"]}]},
    )
    graph = mesh(rule("zones", **policy), pod)
    inputs.apply_mesh_config(graph, msgspec.convert({"defaultConfig": config}, MeshConfig))
    found = [p for p in graph.get(problems) if p.reason == "NoZones"]
    assert [p.field for p in found] == ["spec.trafficPolicy.loadBalancer.zoneAwareLbSetting"] * said


@pytest.mark.parametrize(
    ("tls", "verifies", "said"),
    [
        ({"mode": "SIMPLE", "subjectAltNames": ["a"]}, False, True),
        ({"mode": "SIMPLE", "subjectAltNames": ["a"]}, True, False),
        ({"mode": "SIMPLE"}, False, False),
        ({"mode": "SIMPLE", "subjectAltNames": ["a"], "caCertificates": "system"}, False, False),
        ({"mode": "ISTIO_MUTUAL", "subjectAltNames": ["a"]}, False, False),
    ],
)
def test_names_that_no_verified_certificate_has_are_a_problem(tls: dict[str, Any], verifies: bool, said: bool) -> None:
    graph = mesh(rule("names", trafficPolicy={"tls": tls}))
    inputs.apply_mesh_config(graph, msgspec.convert({"verifyCertificateAtClient": verifies}, MeshConfig))
    found = [p.field for p in graph.get(problems) if p.reason == "NotVerified"]
    assert found == ["spec.trafficPolicy.tls.subjectAltNames"] * said
