"""What a real Envoy says of what a proxy would be sent: `xds render --check`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pilotfish.offline.reading import read
from pilotfish.offline.world import World, build
from pilotfish.runtime.discovery.trial import try_out
from pilotfish.runtime.linux.netns import list_names
from tests.manifests import service, virtual_service

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")
CALCULATOR = Path(__file__).parents[2] / "examples" / "calculator" / "mesh.yaml"
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: vm}
spec: {containers: [{name: web, command: [web]}]}
"""
REFUSED = f"{{prefix: /}}, queryParams: {{? {'q' * 1025} : {{exact: '1'}}}}"
"""Envoy takes at most 1,024 characters, and Istio's API says nothing of it."""


def world(text: str) -> World:
    return build(read([("mesh.yaml", text)]))


async def test_envoy_takes_what_the_example_leads_to() -> None:
    made = world(CALCULATOR.read_text())
    verdict = await try_out(made.mesh.desired, made.proxies["webapp-0.vm"])
    assert (verdict.problems, verdict.warnings) == ((), ())
    assert list_names(f"pf-trial-{os.getpid()}") == ()


async def test_what_envoy_refuses_is_named_by_its_object() -> None:
    text = service("one", "10.96.0.10") + service("two", "10.96.0.11")
    made = world(text + virtual_service("one", REFUSED) + virtual_service("two", "{prefix: /two}") + POD)
    assert made.desired.problems == ()
    verdict = await try_out(made.mesh.desired, made.proxies["web-0.vm"])
    (problem,) = verdict.problems
    assert (str(problem.ref), problem.reason) == ("VirtualService vm/one", "RefusedByEnvoy")
    assert problem.source is not None
    assert problem.source.file == "mesh.yaml"
