"""Versions of Kubernetes' APIs that are gone, and still stand in many manifests: read as what they became.

Source: https://kubernetes.io/docs/reference/using-api/deprecation-guide/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pilotfish.model import Kind

Document = dict[str, Any]


def modernise(kind: Kind, api_version: str, value: Document) -> Document:
    """The object in the version of today; itself where it is of no version that is gone."""
    rewrite = _OLD.get((kind.name, api_version))
    if rewrite is None or not kind.versions:
        return value
    spec = value.get("spec")
    new = rewrite(spec) if isinstance(spec, dict) else spec
    return {**value, "apiVersion": kind.api_versions[0], **({"spec": new} if spec is not None else {})}


def _same(spec: Document) -> Document:
    return spec


def _selected(spec: Document) -> Document:
    """Without a selector, it was the template's labels."""
    template = spec.get("template")
    metadata = template.get("metadata") if isinstance(template, dict) else None
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    found = spec if spec.get("selector") or not labels else {**spec, "selector": {"matchLabels": labels}}
    return {name: item for name, item in found.items() if name not in ("rollbackTo", "templateGeneration")}


def _ingress(spec: Document) -> Document:
    new = {name: item for name, item in spec.items() if name != "backend"}
    if "backend" in spec:
        new["defaultBackend"] = _backend(spec["backend"])
    if isinstance(rules := spec.get("rules"), list):
        new["rules"] = [_rule(rule) for rule in rules]
    return new


def _rule(rule: Any) -> Any:
    http = rule.get("http") if isinstance(rule, dict) else None
    if not isinstance(http, dict) or not isinstance(paths := http.get("paths"), list):
        return rule
    return {**rule, "http": {**http, "paths": [_path(path) for path in paths]}}


def _path(path: Any) -> Any:
    if not isinstance(path, dict):
        return path
    return {"pathType": "ImplementationSpecific", **path, "backend": _backend(path.get("backend"))}


def _backend(backend: Any) -> Any:
    if not isinstance(backend, dict) or "serviceName" not in backend:
        return backend
    port = backend.get("servicePort")
    service = {"name": backend["serviceName"], "port": {"name" if isinstance(port, str) else "number": port}}
    rest = {name: item for name, item in backend.items() if name not in ("serviceName", "servicePort")}
    return {**rest, "service": service}


_SELECTED = ("extensions/v1beta1", "apps/v1beta1")
_OLD: Final[dict[tuple[str, str], Callable[[Document], Document]]] = {
    **{(kind, version): _selected for kind in ("Deployment", "DaemonSet", "ReplicaSet") for version in _SELECTED},
    ("StatefulSet", "apps/v1beta1"): _selected,
    **{(kind, "apps/v1beta2"): _same for kind in ("Deployment", "DaemonSet", "ReplicaSet", "StatefulSet")},
    ("CronJob", "batch/v1beta1"): _same,
    ("Ingress", "extensions/v1beta1"): _ingress,
    ("Ingress", "networking.k8s.io/v1beta1"): _ingress,
    ("IngressClass", "networking.k8s.io/v1beta1"): _same,
    ("EndpointSlice", "discovery.k8s.io/v1beta1"): _same,
}
