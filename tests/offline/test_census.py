"""How much of many manifests is used, and why the rest is not."""

from __future__ import annotations

from pilotfish.model import Problem, Severity
from pilotfish.offline.census import Census

GOOD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n"
WARNED = """---
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec: {hostPID: true, containers: [{name: a, command: [x]}, {name: b, command: [x]}]}
"""
REFUSED = """---
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec: {containers: [{name: a}, {name: b}]}
"""
OTHER = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r}\n"
BROKEN = "a: [\n"


def test_documents_are_counted_and_reasons_ranked() -> None:
    census = Census()
    census.add("a.yaml", GOOD + WARNED.replace("NAME", "w") + REFUSED.replace("NAME", "r") + OTHER)
    census.add("b.yaml", REFUSED.replace("NAME", "r"))
    census.add("c.yaml", BROKEN)
    census.refuse(Problem(None, "", "Unreadable", "no text"))
    assert (census.files, census.documents) == (4, 7)
    assert (census.used, census.warned, census.refused, census.others) == (1, 1, 4, 1)
    errors = [(reason.reason, reason.field, each.documents) for reason, each in census.ranked(Severity.ERROR)]
    assert errors[0] == ("MissingField", "spec.containers[].command", 2)  # of two containers each, and once a document
    assert len(errors) == 3
    warnings = [(reason.kind, reason.field, each.documents) for reason, each in census.ranked(Severity.WARNING)]
    assert warnings == [("Pod", "spec.hostPID", 1)]


def test_a_mesh_config_alone_is_used() -> None:
    census = Census()
    census.add("a.yaml", "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {meshConfig: {}}\n")
    assert (census.used, census.documents) == (1, 1)
