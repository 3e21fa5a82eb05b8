"""What a VirtualService and its delegate say together, and what is wrong between them."""

from __future__ import annotations

from typing import Any

import pytest

from pilotfish.config.manifest import Manifest
from pilotfish.mesh.problems.across import problems
from pilotfish.mesh.routes.http_routes import http_routes
from pilotfish.mesh.scope import EVERYONE, Scope
from pilotfish.model.route import Forward
from tests.mesh.meshes import NETWORKING, graph_of, manifest, service

HOST = "web.vm.svc.cluster.local"
ROUTE = [{"destination": {"host": "web"}}]


def _root(*rules: dict[str, Any]) -> Manifest:
    return manifest("VirtualService", "root", "vm", NETWORKING, spec={"hosts": ["web"], "http": [*rules]})


def _part(*rules: dict[str, Any], **spec: Any) -> Manifest:
    return manifest("VirtualService", "part", "parts", NETWORKING, spec={"http": [*rules], **spec})


DELEGATE = {"delegate": {"name": "part", "namespace": "parts"}}


def test_short_hosts_are_of_whoever_wrote_them() -> None:
    root = _root(DELEGATE | {"name": "a", "mirror": {"host": "web"}})
    graph = graph_of(service("web"), service("web", "parts", "10.96.0.2"), root, _part({"name": "b", "route": ROUTE}))
    (found,) = graph.get(http_routes, root.ref, EVERYONE, EVERYONE, HOST, "", 80)
    assert isinstance(found.action, Forward)
    assert [each.backend.host for each in found.action.backends] == ["web.parts.svc.cluster.local"]
    assert [each.backend.host for each in found.action.mirrors] == [HOST]
    assert (found.name, str(found.ref)) == ("a-b", "VirtualService parts/part spec.http[0]")


@pytest.mark.parametrize(
    ("root", "own", "holds"),
    [
        ({"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/a/b"}}, True),
        ({"uri": {"prefix": "/a"}}, {"uri": {"exact": "/a"}}, True),
        ({"uri": {"prefix": "/a/b"}}, {"uri": {"prefix": "/a"}}, False),
        ({"uri": {"exact": "/a"}}, {"uri": {"prefix": "/a"}}, False),
        ({"uri": {"exact": "/a"}}, {"uri": {"exact": "/a"}}, True),
        ({"uri": {"prefix": "/a"}}, {"uri": {"regex": "/a/.*"}}, False),
        ({"uri": {"regex": "/a/.*"}}, {"uri": {"prefix": "/a"}}, False),
        ({"headers": {"x": {"exact": "1"}}}, {"headers": {"x": {"exact": "2"}}}, False),
        ({"headers": {"x": {"exact": "1"}}}, {"headers": {"y": {"exact": "2"}}}, True),
        ({"port": 80}, {"port": 81}, False),
        ({"ignoreUriCase": True, "uri": {"prefix": "/a"}}, {"uri": {"prefix": "/a"}}, False),
    ],
)
def test_a_delegates_match_is_under_the_roots(root: dict[str, Any], own: dict[str, Any], holds: bool) -> None:
    made = _root(DELEGATE | {"match": [root]}, {"name": "rest", "route": ROUTE})
    graph = graph_of(service("web"), made, _part({"name": "part", "match": [own], "route": ROUTE}))
    found = graph.get(http_routes, made.ref, EVERYONE, EVERYONE, HOST, "", 80)
    assert [route.name for route in found] == (["part", "rest"] if holds else ["rest"])
    reasons = {(problem.field, problem.reason) for problem in graph.get(problems)}
    assert (("spec.http[0].delegate", "ConflictingDelegate") in reasons) is not holds


def test_the_source_that_a_delegate_asks_for_is_looked_at() -> None:
    root = _root(DELEGATE, {"name": "rest", "route": ROUTE})
    graph = graph_of(service("web"), root, _part({"name": "x", "match": [{"sourceNamespace": "shop"}], "route": ROUTE}))
    names = [
        [route.name for route in graph.get(http_routes, root.ref, EVERYONE, source, HOST, "", 80)]
        for source in (Scope("shop"), EVERYONE)
    ]
    assert names == [["x"], ["rest"]]


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (_part({"route": ROUTE}, exportTo=["."]), "UnknownDelegate"),
        (_part({"route": ROUTE}, hosts=["other.example.com"]), "UnknownDelegate"),
        (manifest("VirtualService", "part", "vm", NETWORKING, spec={"http": [{"route": ROUTE}]}), "UnusedDelegate"),
    ],
)
def test_a_delegate_that_is_not_for_the_root_is_not_used(part: Manifest, reason: str) -> None:
    root = _root(DELEGATE)
    graph = graph_of(service("web"), service("web", "parts", "10.96.0.2"), root, part)
    assert reason in {problem.reason for problem in graph.get(problems)}
    assert [route.name for route in graph.get(http_routes, root.ref, EVERYONE, EVERYONE, HOST, "", 80)] == ["default"]
