"""Manifests of earlier years mean what they meant: old versions of the API, and fields that have others in their place.

Source: Istio's API, https://github.com/istio/api/commits/master/networking
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pilotfish.config import load
from pilotfish.derive import Graph
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.types import SERVED
from pilotfish.mesh import inputs
from tests.envoy.conftest import EDGE, WEBAPP

HOST, OTHER = "app.example.com", "other.example.com"


def entry(host: str) -> dict[str, Any]:
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    return {"hosts": [host], "resolution": "STATIC", "ports": ports, "endpoints": [{"address": "10.1.2.3"}]}


def routed(**more: Any) -> dict[str, Any]:
    return {"hosts": [HOST], "http": [{"route": [{"destination": {"host": HOST}}], **more}]}


def policy(**policy: Any) -> dict[str, Any]:
    return {"host": HOST, "trafficPolicy": policy}


SPECS: dict[str, dict[str, Any]] = {
    "VirtualService": routed(timeout="3s"),
    "DestinationRule": policy(loadBalancer={"simple": "RANDOM"}),
    "ServiceEntry": entry("more.example.com"),
    "WorkloadEntry": {"address": "10.1.2.4", "labels": {"app": "w"}},
    "WorkloadGroup": {"template": {"ports": {"http": 80}}},
    "Sidecar": {"egress": [{"hosts": ["./*"]}]},
    "Gateway": {
        "selector": {"istio": "edge"},
        "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
    },
}


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("version", ["v1alpha3", "v1beta1"])
def test_an_old_version_is_read_as_the_present_one(kind: str, version: str) -> None:
    assert sent(kind, SPECS[kind], version) == sent(kind, SPECS[kind])


def mirrored(**more: Any) -> dict[str, Any]:
    return routed(mirror={"host": OTHER}, **more)


def delayed(**share: Any) -> dict[str, Any]:
    return routed(fault={"delay": {"fixedDelay": "2s", **share}})


def hashed(**ring: Any) -> dict[str, Any]:
    return policy(loadBalancer={"consistentHash": {"httpHeaderName": "x-user", **ring}})


def warmed(**more: Any) -> dict[str, Any]:
    return policy(loadBalancer={"simple": "ROUND_ROBIN", **more})


FIELDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "mirrorPercent": ("VirtualService", mirrored(mirrorPercent=20), mirrored(mirrorPercentage={"value": 20})),
    "mirror_percent": ("VirtualService", mirrored(mirror_percent=20), mirrored(mirrorPercentage={"value": 20})),
    "mirror": ("VirtualService", mirrored(), routed(mirrors=[{"destination": {"host": OTHER}}])),
    "percent of a delay": ("VirtualService", delayed(percent=30), delayed(percentage={"value": 30})),
    "allowOrigin": (
        "VirtualService",
        routed(corsPolicy={"allowOrigin": ["https://a.example"]}),
        routed(corsPolicy={"allowOrigins": [{"exact": "https://a.example"}]}),
    ),
    "LEAST_CONN": (
        "DestinationRule",
        policy(loadBalancer={"simple": "LEAST_CONN"}),
        policy(loadBalancer={"simple": "LEAST_REQUEST"}),
    ),
    "minimumRingSize": ("DestinationRule", hashed(minimumRingSize=2048), hashed(ringHash={"minimumRingSize": 2048})),
    "warmupDurationSecs": ("DestinationRule", warmed(warmupDurationSecs="60s"), warmed(warmup={"duration": "60s"})),
    "consecutiveErrors": (
        "DestinationRule",
        policy(outlierDetection={"consecutiveErrors": 3, "interval": "5s"}),
        policy(outlierDetection={"interval": "5s"}),
    ),
}
"""The kind, with the field of old, and with what stands for it now."""


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_old_means_what_stands_for_it_now(field: str) -> None:
    kind, old, new = FIELDS[field]
    assert sent(kind, old) == sent(kind, new)
    assert sent(kind, old) != sent("WorkloadEntry", SPECS["WorkloadEntry"]), "it has no effect at all"


def sent(kind: str, spec: dict[str, Any], version: str = "v1") -> dict[str, bytes]:
    """All that a sidecar and a gateway get for an object beside two ServiceEntries."""
    metadata = {"name": "it", "namespace": "vm"}
    documents = [
        {"apiVersion": f"networking.istio.io/{version}", "kind": kind, "metadata": metadata, "spec": spec},
        *(
            {
                "apiVersion": "networking.istio.io/v1",
                "kind": "ServiceEntry",
                "metadata": {"name": host, "namespace": "vm"},
                "spec": entry(host),
            }
            for host in (HOST, OTHER)
        ),
    ]
    loaded = load(yaml.safe_dump_all(documents), "in.yaml", "vm")
    assert not [problem for problem in loaded.problems if problem.severity == "error"]
    graph = Graph()
    inputs.apply(graph, {m.ref: m for m in loaded.manifests})
    found = [
        (type.url, each)
        for p in (WEBAPP, EDGE)
        for type in SERVED
        for each in resource_set(graph, p).resources(type.url)
    ]
    return {f"{url} {each.name}": each.body for url, each in found}
