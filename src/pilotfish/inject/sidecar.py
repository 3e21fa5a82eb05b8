"""How a pod is captured and proxied, or is a proxy itself, from its labels, annotations and the mesh's configuration.

Source: https://istio.io/latest/docs/reference/config/annotations/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Final

import msgspec

from pilotfish.agent.metrics import ScrapeTarget
from pilotfish.agent.probes import ProbeTable, rewrite_probes
from pilotfish.capture import CaptureSpec, Mode
from pilotfish.config import istio
from pilotfish.config.injection import (
    EVERYWHERE,
    TEMPLATES,
    InjectionPolicy,
    asks_for_gateway,
    is_router,
    wants_sidecar,
)
from pilotfish.config.kubernetes import ContainerPort, Pod
from pilotfish.config.mesh import MeshConfig, ProxyConfig
from pilotfish.config.meshconfig import proxy_config
from pilotfish.config.report import Report
from pilotfish.config.sidecar_ports import check_app_port, held_ports, ports_beside_status
from pilotfish.config.values import parse_boolean
from pilotfish.config.workloads import pod_field
from pilotfish.inject.annotations import STATUS_PORT_ANNOTATION, spec_from_annotations
from pilotfish.inject.metadata import build_gateway_metadata, build_metadata
from pilotfish.inject.node_mode import choose
from pilotfish.inject.own_annotations import MERGE_METRICS, NO_WISHES, ProxyWishes, read_wishes
from pilotfish.inject.past import describe_past
from pilotfish.inject.proxy_config import ANNOTATION, effective_proxy_config, with_counted
from pilotfish.inject.unused import describe_unused
from pilotfish.model import ObjectRef, Problem, Severity, Source
from pilotfish.model.proxy import ProxyType
from pilotfish.model.service import MUTUAL, TLS_MODE_LABEL
from pilotfish.model.wellknown import STATUS_PORT


@dataclass(frozen=True, slots=True)
class Place:
    """Where pods run, as far as the answers differ."""

    policy: InjectionPolicy = EVERYWHERE
    unused: Mapping[str, str] = field(default_factory=dict)
    """As `describe_unused` has it."""
    captures_dns: bool = True
    """Where the configuration does not say it."""
    takes_routers: bool = True
    """A gateway that needs no injection is one of ours, whatever it says of injection."""
    is_read: bool = True
    """Whoever read the object has said what is without effect in it, and on which line."""
    lacks_node_proxy: str = ""
    """Why no machine has one proxy for its pods there, for people."""


MACHINE: Final = Place()
"""One machine: there the agent alone knows the names of ServiceEntries."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """All that a pod gets which asked for no less."""

    capture: CaptureSpec | None
    """None for a gateway, whose traffic comes to it by its own address."""
    proxy_config: ProxyConfig
    probes: ProbeTable
    """The app's, which the agent answers for it."""
    prometheus: ScrapeTarget | None
    """Where the app serves metrics that the agent merges with its own."""
    metadata: Mapping[str, object]
    """What the proxy says of itself to discovery."""
    wishes: ProxyWishes = NO_WISHES
    type: ProxyType = ProxyType.SIDECAR
    on_node: bool = False
    """Its machine's proxy serves it: all but an Envoy is its own."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """What the pod is annotated with, whatever it says itself."""

    @property
    def labels(self) -> Mapping[str, str]:
        """What the pod is labelled with, unless it says otherwise itself: clients speak mutual TLS with it."""
        return {TLS_MODE_LABEL: MUTUAL} if self.type is ProxyType.SIDECAR else {}

    @property
    def transparent(self) -> bool:
        """It keeps its clients' addresses."""
        return self.capture is not None and self.capture.mode is Mode.TPROXY


def build_sidecar(
    pod: Pod,
    mesh: MeshConfig,
    *,
    workload: ObjectRef,
    ipv6: bool,
    source: Source | None = None,
    namespace_labels: Mapping[str, str] = MappingProxyType({}),
    namespace_annotations: Mapping[str, str] = MappingProxyType({}),
    proxy_configs: Sequence[istio.ProxyConfig] = (),
    place: Place = MACHINE,
) -> tuple[Sidecar | None, tuple[Problem, ...]]:
    """(the sidecar, or None for a pod that has none; what is wrong).

    With an error the pod must not be started: it would run with less captured than it asks for. `workload` is what the
    user wrote, such as the Deployment, and `source` where; `ipv6`: whether the pod has it; `proxy_configs`: all of the
    mesh, the oldest first. `namespace_labels`, `namespace_annotations`: of its Namespace.
    """
    annotations = pod.metadata.annotations
    is_gateway = asks_for_gateway(pod.metadata, pod.spec)
    is_taken = place.takes_routers and is_router(pod.spec)
    if not (is_taken or wants_sidecar(pod.metadata, pod.spec, namespace_labels, place.policy)):
        return None, (_describe_unproxied(workload, source),) if is_gateway and place.takes_routers else ()
    config, said = effective_proxy_config(pod, mesh, proxy_configs, workload, source)
    problems = tuple(problem for problem in said if problem.severity is Severity.ERROR or not place.is_read)
    config = with_counted(annotations, config)
    config, taken = _with_status_port(annotations, config, workload, source)
    prometheus, wrong = _scrape_target(annotations, mesh, workload, source)
    wishes, unheard = read_wishes(pod, workload, source)
    problems = (*problems, *taken, *wrong, *unheard)
    containers = (*pod.spec.init_containers, *pod.spec.containers)
    probes = rewrite_probes(containers).table
    unused = describe_unused(pod.metadata, workload, source, place.unused)
    chosen = partial(choose, pod, namespace_annotations, config, wishes, workload=workload, source=source)
    if is_gateway:
        metadata = build_gateway_metadata(pod, workload)
        proxying = chosen(obstacle="it is a gateway")
        made = Sidecar(
            None, config, probes, prometheus, metadata, wishes, ProxyType.ROUTER, False, proxying.annotations
        )
        return made, (*problems, *unused, *proxying.problems)
    capture, more = _capture(annotations, config, workload, source, ipv6, place.captures_dns)
    problems = (*problems, *more)
    if capture is None:
        return None, problems
    proxying = chosen(obstacle=_obstacle(capture, place))
    past = describe_past(annotations, workload, source)
    problems = (*problems, *unused, *past, *proxying.problems)
    problems = (*problems, *_lost_ports(pod, config, workload, source, place.is_read))
    metadata = {**build_metadata(pod, workload), "INTERCEPTION_MODE": str(capture.mode)}
    made = Sidecar(capture, config, probes, prometheus, metadata, wishes)
    return replace(made, on_node=proxying.on_node, annotations=proxying.annotations), problems


def _obstacle(capture: CaptureSpec, place: Place) -> str:
    """Why no pod that is captured so can be served by its machine's proxy there."""
    if place.lacks_node_proxy:
        return place.lacks_node_proxy
    return "its app is to see its clients' addresses (TPROXY)" if capture.mode is Mode.TPROXY else ""


def _capture(
    annotations: Mapping[str, str],
    config: ProxyConfig,
    workload: ObjectRef,
    source: Source | None,
    ipv6: bool,
    captures_dns: bool,
) -> tuple[CaptureSpec | None, tuple[Problem, ...]]:
    return spec_from_annotations(
        annotations,
        mode=config.interception_mode,
        status_port=config.status_port,
        environment={"ISTIO_META_DNS_CAPTURE": str(captures_dns).lower(), **config.proxy_metadata},
        enable_ipv6=ipv6,
        ref=workload,
        source=source,
    )


def _describe_unproxied(workload: ObjectRef, source: Source | None) -> Problem:
    what = "the namespace's label istio-injection keeps every proxy away, and this pod is nothing else"
    message = f"{what}, so it is not started; remove the label, or put the gateway into another namespace"
    return Problem(workload, f"metadata.annotations[{TEMPLATES}]", "InvalidValue", message, source=source)


def _with_status_port(
    annotations: Mapping[str, str], config: ProxyConfig, workload: ObjectRef, source: Source | None
) -> tuple[ProxyConfig, tuple[Problem, ...]]:
    """The annotation's, which capture has read; what is no port, it has reported."""
    text = annotations.get(STATUS_PORT_ANNOTATION, "").strip()
    if not text.isdecimal():
        return config, ()
    port = int(text[:6])
    if why := ports_beside_status(config).get(port):
        message = f"{port} is taken: {why}; the pod is not started until another is written, such as {STATUS_PORT}"
        field = f"metadata.annotations[{STATUS_PORT_ANNOTATION}]"
        return config, (Problem(workload, field, "InvalidValue", message, source=source),)
    return msgspec.structs.replace(config, status_port=port), ()


def _lost_ports(
    pod: Pod, config: ProxyConfig, workload: ObjectRef, source: Source | None, is_read: bool
) -> tuple[Problem, ...]:
    """The app's ports that are the sidecar's: by the mesh's configuration alone, if of others whoever read the object
    has spoken."""
    text = pod.metadata.annotations.get(ANNOTATION)
    own = proxy_config(text, ProxyConfig(), workload, source or Source("-", 1))[0] if text else ProxyConfig()
    said = held_ports(own) if is_read else {}
    held = {port: what for port, what in held_ports(config).items() if port not in said}
    report = Report(workload, "-", fixed_source=source)
    for path, ports in _ports(pod, pod_field(workload.kind, "spec")) if held else ():
        for index, port in enumerate(ports):
            check_app_port(port, held, report, f"{path}.ports[{index}].containerPort")
    return tuple(report.problems)


def _ports(pod: Pod, field: str) -> Iterator[tuple[str, tuple[ContainerPort, ...]]]:
    """(path, ports) of each container."""
    for name, containers in (("initContainers", pod.spec.init_containers), ("containers", pod.spec.containers)):
        for index, container in enumerate(containers):
            yield f"{field}.{name}[{index}]", container.ports


def merges_metrics(annotations: Mapping[str, str], mesh: MeshConfig) -> bool:
    """Whether the agent serves the app's metrics with its own."""
    said = parse_boolean(annotations.get(MERGE_METRICS))
    return mesh.enable_prometheus_merge if said is None else said


def _scrape_target(
    annotations: Mapping[str, str], mesh: MeshConfig, workload: ObjectRef, source: Source | None
) -> tuple[ScrapeTarget | None, tuple[Problem, ...]]:
    if not merges_metrics(annotations, mesh):
        return None, ()
    try:
        return ScrapeTarget.from_annotations(annotations), ()
    except ValueError as error:
        field = "metadata.annotations[prometheus.io/port]"
        return None, (Problem(workload, field, "InvalidValue", f"{error}; the pod is not started", source=source),)
