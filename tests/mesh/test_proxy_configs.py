"""Which ProxyConfig prevails of several for the same pods, and who is told that it does not."""

from __future__ import annotations

from typing import Any

from pilotfish.config.manifest import Manifest
from pilotfish.mesh.problems.across import problems
from tests.mesh.meshes import graph_of, manifest


def config(name: str, created: int, namespace: str = "vm", **spec: Any) -> Manifest:
    at = f"2026-01-01T00:00:0{created}Z"
    return manifest("ProxyConfig", name, namespace, "networking.istio.io/v1beta1", created=at, spec=spec)


def test_a_younger_one_that_says_otherwise_is_told() -> None:
    chosen = {"matchLabels": {"app": "web"}}
    graph = graph_of(
        config("b-older", 1, concurrency=2, environmentVariables={"A": "1"}),
        config("a-younger", 2, concurrency=3, environmentVariables={"A": "1", "B": "2"}),
        config("chosen", 3, concurrency=4, selector=chosen),
        config("far", 4, "far", concurrency=5),
        config("same", 5, concurrency=2),
    )
    found = [(p.reason, p.ref.name if p.ref else "", p.field) for p in graph.get(problems)]
    assert found == [("ConflictingProxyConfig", "a-younger", "spec.concurrency")]
