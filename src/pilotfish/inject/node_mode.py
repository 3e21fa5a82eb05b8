"""Which pods their machine's proxy serves, and why one that asks for it has an Envoy of its own all the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from pilotfish.config.injection import COUNTED
from pilotfish.config.kubernetes import Pod
from pilotfish.config.mesh import ProxyConfig
from pilotfish.config.meshconfig import proxy_config
from pilotfish.config.proxying import NODE, PROXY, SIDECAR, asked_of
from pilotfish.inject.own_annotations import COMPONENT_LOG_LEVEL, LOG_LEVEL, USER_VOLUME_MOUNT, ProxyWishes
from pilotfish.inject.proxy_config import ANNOTATION
from pilotfish.model import ObjectRef, Problem, Severity, Source
from pilotfish.model.wellknown import IDENTITY_PLACES

IN_A_CLUSTER: Final = "in a cluster no machine has one for its pods yet"
_USUAL: Final = ProxyConfig()
_OF_ENVOY: Final = {
    "concurrency": "concurrency",
    "drainDuration": "drain_duration",
    "proxyAdminPort": "proxy_admin_port",
    "proxyStatsMatcher": "proxy_stats_matcher",
    "runtimeValues": "runtime_values",
}
"""What a ProxyConfig says of how Envoy is started."""
_FIELD: Final = f"metadata.annotations[{PROXY}]"
_OF_THE_MACHINE: Final = (
    f"its machine's proxy serves it, and logs what the mesh says; {PROXY}: {SIDECAR} gives it its own"
)


@dataclass(frozen=True, slots=True)
class Choice:
    on_node: bool = False
    """Its machine's proxy serves it."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """What the pod is annotated with, whatever it says itself: others go by that."""
    problems: tuple[Problem, ...] = ()


def choose(
    pod: Pod,
    namespace: Mapping[str, str],
    config: ProxyConfig,
    wishes: ProxyWishes,
    *,
    obstacle: str,
    workload: ObjectRef,
    source: Source | None,
) -> Choice:
    """`namespace`: the annotations of the pod's; `config`: the pod's; `obstacle`: why it can't be, for people, or ""
    where nothing but the pod's own files could be in the way."""
    annotations = pod.metadata.annotations
    if asked_of(annotations, namespace, config) != NODE:
        return Choice()
    if why := obstacle or _own_files(pod, wishes):
        said = f"the pod has a proxy of its own all the same: {why}; remove the annotation, or write {SIDECAR}"
        problem = Problem(workload, _FIELD, "UnsupportedField", said, Severity.WARNING, source)
        return Choice(annotations={PROXY: SIDECAR}, problems=(problem,) if PROXY in annotations else ())
    unheard = tuple(_unheard(annotations, workload, source))
    return Choice(True, {PROXY: NODE}, unheard)


def _own_files(pod: Pod, wishes: ProxyWishes) -> str:
    mounts = (mount.mount_path for container in pod.spec.containers for mount in container.volume_mounts)
    if place := next((path for path in mounts if str(PurePosixPath(path)) in IDENTITY_PLACES), ""):
        return f"another than the mesh gives it its certificate, at {place}"
    return f"it is to see volumes of the pod's ({USER_VOLUME_MOUNT})" if wishes.mounts else ""


def _unheard(annotations: Mapping[str, str], workload: ObjectRef, source: Source | None) -> Iterator[Problem]:
    for name in (LOG_LEVEL, COMPONENT_LOG_LEVEL, *COUNTED):
        if name in annotations:
            said = f"this annotation has no effect: {_OF_THE_MACHINE}"
            yield Problem(workload, f"metadata.annotations[{name}]", "UnsupportedField", said, Severity.INFO, source)
    own, _ = proxy_config(annotations.get(ANNOTATION, "{}"), _USUAL, workload, source or Source("-", 1))
    if named := [name for name, field in _OF_ENVOY.items() if getattr(own, field) != getattr(_USUAL, field)]:
        message = f"{', '.join(named)} {'has' if len(named) == 1 else 'have'} no effect: {_OF_THE_MACHINE}"
        yield Problem(
            workload, f"metadata.annotations[{ANNOTATION}]", "UnsupportedField", message, Severity.INFO, source
        )
