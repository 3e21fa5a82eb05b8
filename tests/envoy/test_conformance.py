"""Istio's own traffic simulation: which listener, chain, route and cluster one call gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from pilotfish.config import load
from pilotfish.config.mesh import MeshConfig, OutboundTrafficPolicy
from pilotfish.derive import Graph
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.types import CLUSTER
from pilotfish.envoy.values import ResourceSet
from pilotfish.mesh import inputs
from pilotfish.model import Proxy
from tests.envoy.simulation import simulate

FILES: Final = ("passthrough", "services", "service-entry", "inbound-clusters")
LEFT_OUT: Final = {
    "dynamic-dns": "the outbound policy ALLOW_ANY_DYNAMIC_DNS",
    "-ingress": "the kind Sidecar",
    "duplicated-host": "two ServiceEntries of one host, of which the older has it all",
    "single-listener": "an Istio feature that is off by default",
}
"""What the names of scenarios contain that need something that pilotfish has not."""


@pytest.mark.parametrize("file", FILES)
def test_calls_take_the_way_that_istio_says(file: str, conformance: Path) -> None:
    checked = 0
    for scenario in yaml.safe_load((conformance / "simulation" / f"{file}.yaml").read_text()):
        if any(part in scenario["name"] for part in LEFT_OUT):
            continue
        resources = _resources(scenario)
        for call in scenario["calls"]:
            outcome = simulate(resources, _as_meant(call))
            made = {key: getattr(outcome, key) or None for key in call["expect"] if hasattr(outcome, key)}
            expected = {key: call["expect"][key] or None for key in made}
            assert made == expected, (scenario["name"], call["name"])
            checked += 1
        _check_inbound_clusters(resources, (scenario.get("assert") or {}).get("inbound_clusters"))
    assert checked >= 5


def _as_meant(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """Istio's simulator has some plaintext connections carry a server name, which none does."""
    has_name = "plaintext-carries-sni" in (call.get("skip_if") or ())
    return {**call["call"], "tls": "tls"} if has_name else call["call"]


def _check_inbound_clusters(resources: ResourceSet, expected: list[Mapping[str, Any]] | None) -> None:
    if expected is not None:
        made = {r.name for r in resources.resources(CLUSTER) if r.name.startswith("inbound")}
        assert made == {cluster["name"] for cluster in expected}


def _resources(scenario: Mapping[str, Any]) -> ResourceSet:
    texts = (scenario.get("config") or "", scenario.get("kubernetes") or "")
    documents = [d for text in texts for d in yaml.safe_load_all(text) if d]
    for document in documents:
        if document["kind"] == "Service":
            # The data has no pods; its endpoints are listed, which holds for Services without a selector.
            document["spec"].pop("selector", None)
    loaded = load(yaml.safe_dump_all(documents), "in.yaml")
    graph = Graph()
    inputs.apply(graph, {m.ref: m for m in loaded.manifests})
    mode = scenario.get("mesh", {}).get("outbound_traffic_policy", "ALLOW_ANY")
    inputs.apply_mesh_config(graph, MeshConfig(outbound_traffic_policy=OutboundTrafficPolicy(mode=mode)))
    asking = scenario["proxy"]
    name, _, _ = asking["name"].partition(".")
    return resource_set(graph, Proxy("x", name, asking["namespace"], "x", tuple(asking["ips"]), asking["labels"]))
