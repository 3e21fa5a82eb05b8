"""What a mesh sees that takes notice of some namespaces only."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.config import load
from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import LabelSelector, MeshConfig
from pilotfish.mesh.discovery_selectors import Selection, within
from pilotfish.offline.reading import read
from pilotfish.offline.world import build
from tests.mesh.meshes import proxy, service

OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {env: prod, team: shop}}
---
apiVersion: v1
kind: Namespace
metadata: {name: lab, labels: {env: test}}
"""
SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {namespace}}}
spec: {{clusterIP: 10.96.0.{index}, selector: {{app: web}}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web-0, namespace: {namespace}, labels: {{app: web}}}}
spec: {{containers: [{{name: app, command: [x]}}]}}
status: {{podIP: 10.244.0.{index}}}
"""
NAMESPACES = ("shop", "lab", "plain", "istio-system")


@pytest.mark.parametrize(
    ("selectors", "seen"),
    [
        ([], {"shop", "lab", "plain"}),
        ([{}], {"shop", "lab", "plain"}),
        ([{"matchLabels": {"env": "prod"}}], {"shop"}),
        ([{"matchLabels": {"env": "prod", "team": "other"}}], set()),
        (
            [{"matchLabels": {"env": "prod"}}, {"matchLabels": {"kubernetes.io/metadata.name": "plain"}}],
            {"shop", "plain"},
        ),
        ([{"matchExpressions": [{"key": "env", "operator": "In", "values": ["test", "x"]}]}], {"lab"}),
        ([{"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["test"]}]}], {"shop", "plain"}),
        ([{"matchExpressions": [{"key": "env", "operator": "Exists"}]}], {"shop", "lab"}),
        ([{"matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]}], {"plain"}),
    ],
)
def test_which_services_a_client_knows(selectors: list[dict[str, Any]], seen: set[str]) -> None:
    text = OBJECTS + "".join(SERVICE.format(namespace=n, index=i) for i, n in enumerate(NAMESPACES, 1))
    metadata = {"name": "istio", "namespace": "istio-system"}
    data = {"mesh": json.dumps({"discoverySelectors": selectors})}
    config = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    world = build(read([("mesh.yaml", f"{text}---\n{config}")], "default"))
    known = world.mesh.names(proxy("web-0", "lab", "10.244.0.2")).records
    assert {n for n in NAMESPACES if f"web.{n}.svc.cluster.local" in known} == {*seen, "istio-system"}
    said = {(p.ref.namespace, p.ref.kind.name) for p in world.problems if p.reason == "NotSelected" and p.ref}
    assert said == {(n, "Service") for n in NAMESPACES[:3] if n not in seen}


ENTRY = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: out, namespace: {namespace}}}
spec:
  hosts: [{namespace}.example.com]
  exportTo: {exported}
  addresses: [10.96.1.{index}]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 10.244.1.{index}}}]
"""
ALL = set(NAMESPACES)
PROD = {"matchingRules": [{"namespaceSelector": {"matchLabels": {"env": "prod"}}}]}
PLAIN = {"matchingRules": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "plain"}}}]}


@pytest.mark.parametrize(
    ("visibility", "exported", "seen", "said"),
    [
        (None, ["*"], ALL, set()),
        ({"defaultVisibility": "NAMESPACE"}, ["*"], ALL, set()),  # of ambient mode
        ({"applyToSidecars": True}, ["*"], ALL, set()),
        ({"applyToSidecars": True, "defaultVisibility": "NAMESPACE"}, [], {"lab"}, set()),
        ({"applyToSidecars": True, "defaultVisibility": "NAMESPACE"}, ["*"], {"lab"}, ALL),
        ({"applyToSidecars": True, "defaultVisibility": "NAMESPACE"}, ["."], {"lab"}, set()),
        (
            {"applyToSidecars": True, "defaultVisibility": "NAMESPACE"},
            ["shop"],
            set(),
            {"lab", "plain", "istio-system"},
        ),
        ({"applyToSidecars": True, "defaultVisibility": "NONE"}, ["*"], set(), ALL),
        (
            {
                "applyToSidecars": True,
                "defaultVisibility": "NONE",
                "policies": [{"visibility": "PUBLIC", **PROD}, {"visibility": "NAMESPACE"}],
            },
            ["*"],
            {"shop", "lab"},
            ALL - {"shop"},
        ),
        (
            {
                "applyToSidecars": True,
                "policies": [{"visibility": "NONE", **PLAIN}, {"visibility": "NONE", "matchingRules": [{}]}],
            },
            ["*"],
            ALL - {"plain"},
            {"plain"},
        ),
        ({"applyToSidecars": True, "defaultVisibility": "PUBLIC"}, ["."], {"lab"}, set()),
    ],
)
def test_which_service_entries_a_client_knows(
    visibility: dict[str, Any] | None, exported: list[str], seen: set[str], said: set[str]
) -> None:
    """One of the namespace `lab`."""
    text = OBJECTS + "".join(
        ENTRY.format(namespace=n, index=i, exported=json.dumps(exported)) for i, n in enumerate(NAMESPACES, 1)
    )
    metadata = {"name": "istio", "namespace": "istio-system"}
    data = {"mesh": json.dumps({"serviceEntryVisibility": visibility})}
    config = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    world = build(read([("mesh.yaml", f"{text}---\n{config}")], "default"))
    known = world.mesh.names(proxy("web-0", "lab", "10.244.0.2")).records
    assert {n for n in NAMESPACES if f"{n}.example.com" in known} == seen
    assert {p.ref.namespace for p in world.problems if p.reason == "NotShown" and p.ref} == said


def namespace(name: str, team: str) -> Manifest:
    (made,) = load(
        f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{team: {team}}}}}}}", "-"
    ).manifests
    return made


FORMS = (
    *(service(name, place) for place in "ab" for name in "xy"),
    *(service(name, place) for place in "ab" for name in "xy"),  # equal, and from another line, maybe
    *(service(name, place, ports=[{"name": "http", "port": 81}]) for place in "ab" for name in "xy"),
    *(namespace(name, team) for name in "ab" for team in ("ours", "theirs")),
)
OURS = (LabelSelector(match_labels={"team": "ours"}),)
CHOSEN = st.tuples(st.lists(st.sampled_from(FORMS), max_size=8), st.sampled_from(((), OURS, OURS, OURS)))


@given(st.lists(CHOSEN, max_size=6))
def test_what_is_seen_follows_whatever_changes(states: list[tuple[list[Manifest], tuple[LabelSelector, ...]]]) -> None:
    selection = Selection()
    for state, selectors in states:
        manifests, config = {each.ref: each for each in state}, MeshConfig(discovery_selectors=selectors)
        seen = selection.within(manifests, config)
        assert seen == within(manifests, config)
        assert all(seen[ref] is manifests[ref] for ref in seen), "what is said of them is on their lines"
        assert {problem.ref for problem in selection.unseen()} == manifests.keys() - seen.keys()
