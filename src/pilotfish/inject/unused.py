"""Labels and annotations of Istio's for a pod's sidecar that do nothing here, and slips of the pen.

Source: https://istio.io/latest/docs/reference/config/annotations/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from pilotfish.config.checks.pod import PROXY_CONFIG_ANNOTATION
from pilotfish.config.injection import COUNTED, INJECT, TEMPLATES
from pilotfish.config.kubernetes import Metadata
from pilotfish.inject.annotations import EFFECTIVE, PREFIX
from pilotfish.inject.own_annotations import OF_THE_PROXY
from pilotfish.model import ObjectRef, Problem, Severity, Source
from pilotfish.model.likeness import closest
from pilotfish.model.wellknown import SIDECAR_STATUS

_KNOWN: Final = (*EFFECTIVE, INJECT, PROXY_CONFIG_ANNOTATION, *COUNTED, *OF_THE_PROXY)
_BY_NAME: Final = {name.rpartition("/")[2]: name for name in _KNOWN}
_DOMAINS: Final = (
    "sidecar.istio.io/",
    "proxy.istio.io/",
    "traffic.istio.io/",
    "inject.istio.io/",
    "status.sidecar.istio.io/",
    "readiness.status.sidecar.istio.io/",
    "prometheus.istio.io/",
)
_TEMPLATES: Final = ("sidecar", "gateway")
_WRITTEN_BY_ISTIO: Final = (SIDECAR_STATUS,)

_NO_LIMIT = "no limit holds for a sidecar: all proxies share the machine"
_NO_IMAGE = "no image is pulled: every proxy is this machine's Envoy"
_NO_METRICS = "the proxy counts under Envoy's own names and tags"
_WHY: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(
            (f"sidecar.istio.io/proxy{what}" for what in ("CPU", "CPULimit", "Memory", "MemoryLimit")), _NO_LIMIT
        ),
        **dict.fromkeys(("sidecar.istio.io/proxyImage", "sidecar.istio.io/proxyImageType"), _NO_IMAGE),
        **dict.fromkeys((f"sidecar.istio.io/{n}" for n in ("extraStatTags", "statsHistogramBuckets")), _NO_METRICS),
        **dict.fromkeys(
            (f"readiness.status.sidecar.istio.io/{n}" for n in ("initialDelaySeconds", "periodSeconds")),
            "the mesh knows at once when a proxy is ready, and asks for it by no probe",
        ),
        "readiness.status.sidecar.istio.io/failureThreshold": (
            "the mesh knows at once when a proxy is ready, and asks for it by no probe"
        ),
        "readiness.status.sidecar.istio.io/applicationPorts": "a proxy is ready whichever ports its app listens on",
        "sidecar.istio.io/agentLogLevel": "one process holds all agents, and writes node.log of the mesh's directory",
        "sidecar.istio.io/bootstrapOverride": "Envoy starts with the mesh's own bootstrap",
        "sidecar.istio.io/controlPlaneAuthPolicy": "discovery is always spoken to by mutual TLS",
        "sidecar.istio.io/discoveryAddress": "`up` has its own discovery",
        "sidecar.istio.io/enableCoreDump": "the kernel's core_pattern of the machine decides that",
        "sidecar.istio.io/nativeSidecar": "the proxy always starts before the app, and ends after it",
        "sidecar.istio.io/rewriteAppHTTPProbers": "probes go straight to the app's own port, past the proxy",
        "sidecar.istio.io/statsCompression": "metrics are served uncompressed",
        "proxy.istio.io/overrides": "the proxy is no container of the pod's spec",
    }
)
"""Those of Istio's reference, and why each has no effect."""


def describe_unused(
    pod: Metadata, workload: ObjectRef, source: Source | None, elsewhere: Mapping[str, str] = MappingProxyType({})
) -> tuple[Problem, ...]:
    """What begins with `traffic.sidecar.istio.io/` capture has read. `elsewhere`: of annotations that are other than on
    one machine, why each has no effect, or "" for one that has."""
    return tuple(
        Problem(workload, field, "UnknownField" if is_slip else "UnsupportedField", text, severity, source)
        for field, text, is_slip in _describe(pod, {**_WHY, **elsewhere})
        for severity in (Severity.WARNING if is_slip else Severity.INFO,)
    )


def _describe(pod: Metadata, why: Mapping[str, str]) -> Iterator[tuple[str, str, bool]]:
    """(field, message, whether it is a slip)."""
    for name in pod.labels:
        if name.startswith(_DOMAINS) and name != INJECT and (meant := _meant(name)):
            yield f'metadata.labels["{name}"]', f"there is no such label, it has no effect; did you mean {meant}?", True
    for name in pod.annotations:
        if not name.startswith(_DOMAINS) or name in (*_KNOWN, *_WRITTEN_BY_ISTIO):
            continue
        if name == TEMPLATES and pod.annotations[name].strip() in _TEMPLATES:
            continue
        field = f'metadata.annotations["{name}"]'
        if name in why:
            if why[name]:
                yield field, f"this annotation has no effect here: {why[name]}", False
        elif meant := _meant(name):
            yield field, f"there is no such annotation, it has no effect; did you mean {meant}?", True
        else:
            yield field, "this annotation has no effect here: the sidecar is made by pilotfish", False


def _meant(name: str) -> str:
    short = name.rpartition("/")[2]
    if short in _BY_NAME:
        return _BY_NAME[short]
    alike = next((known for known in (*_KNOWN, *_WHY) if known.lower() == name.lower()), "")
    if alike:
        return alike
    return closest(name, (each for each in (*_KNOWN, *_WHY) if not each.startswith(PREFIX)), like=0.85)
