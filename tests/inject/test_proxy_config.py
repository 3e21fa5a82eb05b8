"""Who prevails where several say how a pod's proxy runs."""

from __future__ import annotations

import json

import pytest

from pilotfish.config import load
from pilotfish.config.istio import ProxyConfig
from pilotfish.config.kubernetes import Pod
from pilotfish.config.mesh import MeshConfig, ProxyStatsMatcher
from pilotfish.config.mesh import ProxyConfig as Settings
from pilotfish.inject.proxy_config import effective_proxy_config, with_counted
from pilotfish.model.kinds import POD


def config(name: str, namespace: str, concurrency: int | None = None, app: str = "", **variables: str) -> ProxyConfig:
    spec: dict[str, object] = {"environmentVariables": {"BY": name, **variables}}
    if concurrency is not None:
        spec["concurrency"] = concurrency
    if app:
        spec["selector"] = {"matchLabels": {"app": app}}
    document = {"apiVersion": "networking.istio.io/v1beta1", "kind": "ProxyConfig", "spec": spec}
    (made,) = load(json.dumps({**document, "metadata": {"name": name, "namespace": namespace}}), "in.yaml").manifests
    assert isinstance(made.resource, ProxyConfig)
    return made.resource


ROOT, OWN = config("root", "istio-system", 2, ROOT="yes"), config("own", "vm", 3, OWN="yes")
CHOSEN, OTHER = config("chosen", "vm", 4, "web"), config("other", "vm", 5, "other")
FAR, YOUNGER = config("far", "far", 6), config("younger", "vm", 7, YOUNGER="yes")
ANNOTATION = "{concurrency: 8, proxyMetadata: {BY: annotation}}"


@pytest.mark.parametrize(
    ("objects", "annotation", "concurrency", "metadata"),
    [
        ((), "", 1, {"BY": "mesh"}),
        ((ROOT, FAR, OTHER), "", 2, {"BY": "root", "ROOT": "yes"}),
        ((OWN, ROOT), "", 3, {"BY": "own", "ROOT": "yes", "OWN": "yes"}),
        ((OWN, YOUNGER), "", 3, {"BY": "own", "OWN": "yes", "YOUNGER": "yes"}),
        ((OWN,), ANNOTATION, 8, {"BY": "annotation", "OWN": "yes"}),
        ((CHOSEN, OWN), ANNOTATION, 4, {"BY": "chosen", "OWN": "yes"}),
        ((config("silent", "vm", app="web"), OWN), "", 3, {"BY": "silent", "OWN": "yes"}),
    ],
    ids=["the mesh", "the root", "its namespace", "the older", "the annotation", "who selects it", "what is said"],
)
def test_who_prevails(
    objects: tuple[ProxyConfig, ...], annotation: str, concurrency: int, metadata: dict[str, str]
) -> None:
    annotations = {"proxy.istio.io/config": annotation} if annotation else {}
    text = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "app", "command": ["x"]}]}}
    meta = {"name": "web", "namespace": "vm", "labels": {"app": "web"}, "annotations": annotations}
    (made,) = load(json.dumps({**text, "metadata": meta}), "in.yaml").manifests
    assert isinstance(made.resource, Pod)
    mesh = MeshConfig(default_config=Settings(concurrency=1, proxy_metadata={"BY": "mesh"}))
    found, problems = effective_proxy_config(made.resource, mesh, objects, POD.ref("vm", "web"), None)
    assert problems == ()
    assert (found.concurrency, found.proxy_metadata) == (concurrency, metadata)


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, (("a",), ("b",))),
        ({"sidecar.istio.io/statsInclusionPrefixes": "c,d"}, (("c", "d"), ("b",))),
        ({"sidecar.istio.io/statsInclusionSuffixes": "e"}, (("a",), ("e",))),
    ],
)
def test_an_annotation_of_old_stands_in_for_its_field(
    annotations: dict[str, str], expected: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    stated = ProxyStatsMatcher(inclusion_prefixes=("a",), inclusion_suffixes=("b",))
    found = with_counted(annotations, Settings(proxy_stats_matcher=stated)).proxy_stats_matcher
    assert (found.inclusion_prefixes, found.inclusion_suffixes) == expected
