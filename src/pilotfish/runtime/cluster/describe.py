"""A cluster's pods and Services as views: what commands are told of them, in kubectl's words.

Only what is told is read of an object: of a large cluster's pods, the rest is most of it.
Source: https://github.com/kubernetes/kubernetes/blob/v1.34.1/pkg/printers/internalversion/printers.go (printPod)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import dropwhile
from typing import Final, Literal

import msgspec

from pilotfish.model.struct import Frozen
from pilotfish.model.wellknown import ADMIN_PORT, INIT_CONTAINER, PROXY_CONTAINER, VALIDATION_CONTAINER
from pilotfish.runtime.control.views import ContainerView, PodView, ServiceView

_HASH: Final = "pod-template-hash"
_GATEWAY: Final = ("router", "--gateway")
"""The argument of a proxy that is a gateway: Istio's, and ours."""
_CAPTURE: Final = (INIT_CONTAINER, VALIDATION_CONTAINER)
"""The init container that applies a pod's capture rules, or looks whether the node's plugin has."""
_COMMANDS: Final = ("capture", "apply", "check", "istio-iptables", "pilot-agent")
"""What stands before its flags: ours, and Istio's."""


class _Camel(Frozen, rename="camel"):
    pass


class Owner(_Camel):
    kind: str
    name: str
    controller: bool = False


class Metadata(_Camel):
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[Owner, ...] | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class _Variable(_Camel):
    name: str
    value: str = ""


class _Container(_Camel):
    name: str
    args: tuple[str, ...] | None = None
    env: tuple[_Variable, ...] | None = None
    restart_policy: str = ""


class _Waiting(_Camel):
    reason: str = ""
    message: str = ""


class _Running(_Camel):
    started_at: datetime | None = None


class _Terminated(_Camel):
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None


class _State(_Camel):
    waiting: _Waiting | None = None
    running: _Running | None = None
    terminated: _Terminated | None = None


class _ContainerStatus(_Camel):
    name: str
    state: _State = _State()
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0


class _Address(_Camel):
    ip: str = ""


class _Condition(_Camel):
    type: str
    status: str = ""


class _PodSpec(_Camel):
    containers: tuple[_Container, ...] = ()
    init_containers: tuple[_Container, ...] | None = None


class _PodStatus(_Camel):
    phase: str = "Pending"
    reason: str = ""
    pod_ips: tuple[_Address, ...] | None = msgspec.field(name="podIPs", default=None)
    conditions: tuple[_Condition, ...] | None = None
    container_statuses: tuple[_ContainerStatus, ...] | None = None
    init_container_statuses: tuple[_ContainerStatus, ...] | None = None


class Pod(_Camel):
    """Of a Pod, what is told of it."""

    metadata: Metadata
    spec: _PodSpec = _PodSpec()
    status: _PodStatus = _PodStatus()


class _ServicePort(_Camel):
    port: int
    protocol: str = "TCP"


class _ServiceSpec(_Camel):
    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    selector: dict[str, str] | None = None
    ports: tuple[_ServicePort, ...] | None = None


class Service(_Camel):
    """Of a Service, what is told of it."""

    metadata: Metadata
    spec: _ServiceSpec = _ServiceSpec()


def describe_service(service: Service) -> ServiceView:
    spec = service.spec
    return ServiceView(
        namespace=service.metadata.namespace,
        name=service.metadata.name,
        type=spec.type,
        cluster_ip=spec.cluster_ip,
        ports=tuple(f"{each.port}/{each.protocol}" for each in spec.ports or ()),
        created_at=_seconds(service.metadata.creation_timestamp) or 0.0,
        selector=spec.selector or {},
    )


def describe_pod(pod: Pod) -> PodView:
    metadata, spec, status = pod.metadata, pod.spec, pod.status
    every = (*(spec.init_containers or ()), *spec.containers)
    proxy = next((each for each in every if each.name == PROXY_CONTAINER), None)
    conditions = {each.type: each.status for each in status.conditions or ()}
    return PodView(
        namespace=metadata.namespace,
        name=metadata.name,
        phase="Terminating" if metadata.deletion_timestamp is not None else _phase(status.phase),
        created_at=_seconds(metadata.creation_timestamp) or 0.0,
        reason=status_word(pod),
        addresses=tuple(each.ip for each in status.pod_ips or () if each.ip),
        owner=find_owner(metadata),
        labels=metadata.labels or {},
        ready=conditions.get("Ready") == "True",
        captured=proxy is not None,
        gateway=proxy is not None and any(word in _GATEWAY for word in proxy.args or ()),
        admin_port=_admin_port(proxy) if proxy is not None else ADMIN_PORT,
        containers=tuple(_containers(pod)),
    )


def find_capture(pod: Pod) -> tuple[str, ...] | None:
    """The flags by which a pod's traffic is captured (`capture.flags`); None where it is not."""
    found = next((each for each in pod.spec.init_containers or () if each.name in _CAPTURE), None)
    return tuple(dropwhile(lambda word: word in _COMMANDS, found.args or ())) if found is not None else None


def find_owner(metadata: Metadata) -> str:
    """`deployment/webapp`, what the user wrote: a ReplicaSet is called after its Deployment and the hash that its pods
    are labelled with; "" for a pod that nothing makes."""
    owner = next((each for each in metadata.owner_references or () if each.controller), None)
    if owner is None:
        return ""
    ending = f"-{(metadata.labels or {}).get(_HASH, '')}"
    if owner.kind == "ReplicaSet" and len(ending) > 1 and owner.name.endswith(ending):
        return f"deployment/{owner.name.removesuffix(ending)}"
    return f"{owner.kind.lower()}/{owner.name}"


def status_word(pod: Pod) -> str:
    """kubectl's STATUS: Running, Init:0/1, CrashLoopBackOff, ..."""
    status = pod.status
    word = status.reason or status.phase
    starting = _starting(pod)
    if starting:
        word = starting
    else:
        running = False
        for each in reversed(status.container_statuses or ()):
            word = _trouble(each.state) or word
            running = running or (each.ready and each.state.running is not None)
        if word == "Completed" and running:
            is_ready = any(each.type == "Ready" and each.status == "True" for each in status.conditions or ())
            word = "Running" if is_ready else "NotReady"
    if pod.metadata.deletion_timestamp is not None:
        return "Unknown" if status.reason == "NodeLost" else "Terminating"
    return word


def _starting(pod: Pod) -> str:
    """Of the first init container that keeps the others from starting."""
    specs = pod.spec.init_containers or ()
    stays = {each.name for each in specs if each.restart_policy == "Always"}
    for number, each in enumerate(pod.status.init_container_statuses or ()):
        ended, waiting = each.state.terminated, each.state.waiting
        if (ended is not None and ended.exit_code == 0) or (each.name in stays and each.started):
            continue
        if ended is not None:
            return f"Init:{_end(ended)}"
        if waiting is not None and waiting.reason and waiting.reason != "PodInitializing":
            return f"Init:{waiting.reason}"
        return f"Init:{number}/{len(specs)}"
    return ""


def _trouble(state: _State) -> str:
    if state.waiting is not None and state.waiting.reason:
        return state.waiting.reason
    return _end(state.terminated) if state.terminated is not None else ""


def _end(ended: _Terminated) -> str:
    return ended.reason or (f"Signal:{ended.signal}" if ended.signal else f"ExitCode:{ended.exit_code}")


def _containers(pod: Pod) -> Iterator[ContainerView]:
    """Apps first, as the default is the first of them."""
    inits, apps = pod.spec.init_containers or (), pod.spec.containers
    status = pod.status
    statuses = (*(status.container_statuses or ()), *(status.init_container_statuses or ()))
    known = {each.name: each for each in statuses}
    for each in (*apps, *inits):
        kind = _kind(each, inits)
        yield _container(each.name, kind, known.get(each.name) or _ContainerStatus(name=each.name))


def _kind(container: _Container, inits: Sequence[_Container]) -> Literal["init", "sidecar", "app", "proxy"]:
    if container.name == PROXY_CONTAINER:
        return "proxy"
    if container not in inits:
        return "app"
    return "sidecar" if container.restart_policy == "Always" else "init"


def _container(name: str, kind: Literal["init", "sidecar", "app", "proxy"], status: _ContainerStatus) -> ContainerView:
    waiting, running, ended = status.state.waiting, status.state.running, status.state.terminated
    started = running.started_at if running is not None else ended.started_at if ended is not None else None
    return ContainerView(
        name=name,
        kind=kind,
        state="running" if running is not None else "terminated" if ended is not None else "waiting",
        reason=waiting.reason if waiting is not None else _end(ended) if ended is not None else "",
        message=waiting.message if waiting is not None else ended.message if ended is not None else "",
        ready=status.ready,
        started=status.started is True or running is not None,
        restarts=status.restart_count,
        exit_code=ended.exit_code if ended is not None else None,
        started_at=_seconds(started),
    )


def _phase(text: str) -> Literal["Pending", "Running", "Succeeded", "Failed"]:
    match text:
        case "Running" | "Succeeded" | "Failed":
            return text
        case _:
            return "Pending"


class _ProxyConfig(_Camel):
    proxy_admin_port: int = ADMIN_PORT


def _admin_port(proxy: _Container) -> int:
    """As the injector told the agent."""
    text = next((each.value for each in proxy.env or () if each.name == "PROXY_CONFIG"), "")
    try:
        return msgspec.json.decode(text or b"{}", type=_ProxyConfig).proxy_admin_port
    except msgspec.DecodeError:
        return ADMIN_PORT


def _seconds(moment: datetime | None) -> float | None:
    return moment.astimezone(UTC).timestamp() if moment is not None else None
