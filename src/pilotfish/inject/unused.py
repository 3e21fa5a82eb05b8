"""Labels and annotations of Istio's for a pod's sidecar that do nothing here, and slips of the pen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pilotfish.config.checks.pod import PROXY_CONFIG_ANNOTATION
from pilotfish.config.injection import COUNTED, INJECT, TEMPLATES
from pilotfish.config.kubernetes import Metadata
from pilotfish.inject.annotations import EFFECTIVE, PREFIX
from pilotfish.model import ObjectRef, Problem, Severity, Source
from pilotfish.model.likeness import closest

_KNOWN: Final = (*EFFECTIVE, INJECT, PROXY_CONFIG_ANNOTATION, *COUNTED)
_BY_NAME: Final = {name.rpartition("/")[2]: name for name in _KNOWN}
_DOMAINS: Final = ("sidecar.istio.io/", "proxy.istio.io/", "traffic.istio.io/", "inject.istio.io/")
_TEMPLATES: Final = ("sidecar", "gateway")
_WRITTEN_BY_ISTIO: Final = ("sidecar.istio.io/status",)


def describe_unused(pod: Metadata, workload: ObjectRef, source: Source | None) -> tuple[Problem, ...]:
    """What begins with `traffic.sidecar.istio.io/` capture has read."""
    return tuple(
        Problem(workload, field, "UnknownField" if is_slip else "UnsupportedField", text, severity, source)
        for field, text, is_slip in _describe(pod)
        for severity in (Severity.WARNING if is_slip else Severity.INFO,)
    )


def _describe(pod: Metadata) -> Iterator[tuple[str, str, bool]]:
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
        if meant := _meant(name):
            yield field, f"there is no such annotation, it has no effect; did you mean {meant}?", True
        else:
            yield field, "this annotation has no effect here: the sidecar is made by pilotfish", False


def _meant(name: str) -> str:
    short = name.rpartition("/")[2]
    if short in _BY_NAME:
        return _BY_NAME[short]
    return closest(name, (known for known in _KNOWN if not known.startswith(PREFIX)), like=0.85)
