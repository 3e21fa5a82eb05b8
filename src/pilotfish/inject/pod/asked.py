"""What a pod's annotations ask of a proxy that is a container: those that have an effect in a cluster alone.

Source: https://istio.io/latest/docs/reference/config/annotations/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from pilotfish.config.injection import TEMPLATES
from pilotfish.config.values import Quantity, parse_boolean
from pilotfish.inject.pod.capture import CAPTURE_CONTAINERS
from pilotfish.inject.pod.installation import NATIVE_SIDECAR, Document
from pilotfish.inject.pod.previous import OVERRIDES
from pilotfish.inject.pod.proxy import BIND_LOW_PORTS, IMAGE, READINESS, RESOURCES
from pilotfish.inject.pod.volumes import build_volumes
from pilotfish.model import ObjectRef, Problem, Severity, Source

REWRITE_PROBES: Final = "sidecar.istio.io/rewriteAppHTTPProbers"
BEFORE_PROXY: Final = "sidecar.istio.io/init-containers-before-proxy"
_TEMPLATES: Final = ("sidecar", "gateway")
_SWITCHES: Final = (NATIVE_SIDECAR, REWRITE_PROBES, BIND_LOW_PORTS)

IN_A_CLUSTER: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys((*RESOURCES, *READINESS, *_SWITCHES, IMAGE, OVERRIDES, BEFORE_PROXY), ""),
        "sidecar.istio.io/proxyImageType": f"the image has no variants; name another by {IMAGE}",
        "sidecar.istio.io/agentLogLevel": "the agent says what changes, and no more",
        "sidecar.istio.io/discoveryAddress": "write discoveryAddress in proxy.istio.io/config",
        "sidecar.istio.io/enableCoreDump": "the node's core_pattern decides that, and a pod is not to change it",
        "readiness.status.sidecar.istio.io/applicationPorts": "the app's own probes say when it is ready",
    }
)
"""Why each has no effect, or "" for one that has: where that is other than on one machine."""


def check_asked(
    annotations: Mapping[str, str], spec: Document, workload: ObjectRef, source: Source | None
) -> tuple[Problem, ...]:
    """With an error the pod must not be started. `spec`: without what an earlier injection has added."""
    found = (*_check(annotations), *_check_spec(spec))
    return tuple(
        Problem(workload, field, "InvalidValue", message, severity, source) for field, message, severity in found
    )


_Said = tuple[str, str, Severity]


def _check(annotations: Mapping[str, str]) -> Iterator[_Said]:
    for name in RESOURCES:
        if name in annotations:
            try:
                Quantity.parse(annotations[name].strip())
            except ValueError as error:
                yield _wrong(name, str(error))
    for name in READINESS:
        text = annotations.get(name, "").strip()
        if text and not (text.isdecimal() and len(text) < 10):
            yield _wrong(name, f"{text!r} is no number of {'tries' if name.endswith('Threshold') else 'seconds'}")
    for name in _SWITCHES:
        if annotations.get(name) and parse_boolean(annotations[name]) is None:
            yield _wrong(name, f"{annotations[name]!r} is neither true nor false")
    for template in filter(None, (each.strip() for each in annotations.get(TEMPLATES, "").split(","))):
        if template not in _TEMPLATES:
            yield _wrong(TEMPLATES, f"there is no template {template!r}, only {' and '.join(_TEMPLATES)}")


def _check_spec(spec: Document) -> Iterator[_Said]:
    for index, container in enumerate(spec["containers"]):
        if container["name"] in CAPTURE_CONTAINERS:
            what = f"the mesh itself adds an init container named {container['name']!r}"
            remedy = "choose another name, the pod is not started with it"
            yield f"spec.containers[{index}].name", f"{what}; {remedy}", Severity.ERROR
    ours = {each["name"]: each.keys() for each in build_volumes({})}
    for index, volume in enumerate(spec.get("volumes") or ()):
        name = volume.get("name")
        if name in ours and volume.keys() != ours[name]:
            what = f"the mesh itself adds a volume named {name!r}; choose another name, the pod is not started with it"
            yield f"spec.volumes[{index}].name", what, Severity.ERROR
    policy = spec.get("dnsPolicy")
    if policy not in (None, "", "ClusterFirst", "ClusterFirstWithHostNet"):
        what = f"with {policy} the proxy may not find discovery, which it knows by a Service's name"
        yield "spec.dnsPolicy", f"{what}; write ClusterFirst", Severity.WARNING


def _wrong(name: str, what: str) -> _Said:
    message = f"{what}; the pod is not started until it is corrected"
    return f"metadata.annotations[{name}]", message, Severity.ERROR
