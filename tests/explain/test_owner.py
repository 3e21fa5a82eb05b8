"""Which part of the user's object a step is of, and on which line that stands; nothing where it is not certain."""

from __future__ import annotations

import pytest

from pilotfish.config.loading import load
from pilotfish.explain.owner import index_owners, parse_owner
from pilotfish.explain.trace import Branch, Stage, Step, Tape

ROUTES = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: vm}
spec:
  hosts: [web]
  http:
  - name: testers
    match:
    - headers: {x-tester: {exact: "yes"}}
      name: by-header
    - queryParams: {tester: {exact: "1"}}
    route: [{destination: {host: web}}]
  - match:
    - uri: {prefix: /a}
    route: [{destination: {host: web}}]
  - route: [{destination: {host: web}}]
  - match: [{uri: {prefix: /never}}]
    route: [{destination: {host: web}}]
"""
RULE = """apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: vm}
spec:
  host: web
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
"""
PATH = "/apis/networking.istio.io/v1/namespaces/vm/virtual-service/web"


def step(stage: Stage, name: str, position: str = "") -> Step:
    tape = Tape()
    Branch(tape).step(stage, name, evidence={"position": position})
    return tape.steps[0]


def found(text: str, path: str, of: Step) -> tuple[str, int]:
    owner = index_owners(load(text, "mesh.yaml").manifests)(path, of)
    assert owner is not None
    return owner.field, owner.line


@pytest.mark.parametrize(
    ("name", "position", "expected"),
    [
        ("testers.by-header", "1 of 4", ("spec.http[0]", 7)),
        ("testers", "2 of 4", ("spec.http[0]", 7)),
        ("route 3", "3 of 4", ("spec.http[1]", 13)),
        ("route 4", "4 of 4", ("spec.http[2]", 16)),
        # The proxy has fewer: the routes that are not for it are missing, and nobody knows which those are.
        ("route 2", "2 of 3", ("", 1)),
        ("testers", "1 of 3", ("spec.http[0]", 7)),
        # Routes of others stand between.
        ("route 4", "", ("", 1)),
    ],
)
def test_a_route_is_of_a_rule(name: str, position: str, expected: tuple[str, int]) -> None:
    assert found(ROUTES, PATH, step(Stage.ROUTE, name, position)) == expected


def test_a_name_that_two_have_says_nothing() -> None:
    text = ROUTES.replace("  - match:\n    - uri", "  - name: testers\n    match:\n    - uri")
    assert found(text, PATH, step(Stage.ROUTE, "testers", "2 of 3")) == ("", 1)
    assert found(text, PATH, step(Stage.ROUTE, "testers", "3 of 4")) == ("spec.http[1]", 13)


def test_the_rules_of_a_delegate_are_not_guessed() -> None:
    text = ROUTES.replace("  - route: [{destination: {host: web}}]\n", "  - delegate: {name: other, namespace: vm}\n")
    assert found(text, PATH, step(Stage.ROUTE, "route 3", "3 of 4")) == ("", 1)


def test_a_cluster_is_of_a_subset() -> None:
    path = PATH.replace("virtual-service", "destination-rule")
    assert found(RULE, path, step(Stage.CLUSTER, "outbound|80|v2|web.vm.svc.cluster.local")) == ("spec.subsets[1]", 8)
    assert found(RULE, path, step(Stage.CLUSTER, "outbound|80||web.vm.svc.cluster.local")) == ("", 1)


def test_a_path_alone_names_the_object() -> None:
    owner = parse_owner(PATH, step(Stage.ROUTE, "testers"))
    assert str(owner) == "VirtualService vm/web"
    assert parse_owner("something else") is None
