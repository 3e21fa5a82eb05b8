"""The views of a running mesh's pods, for whoever asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from pilotfish.agent.taken import Taken
from pilotfish.config.kubernetes import Service, ServicePort
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.model.proxy import ProxyType
from pilotfish.model.wellknown import ADMIN_PORT, PROXY_CONTAINER
from pilotfish.node.container import ContainerState
from pilotfish.node.endpoints import Backend, endpoints
from pilotfish.node.node_ports import EXPOSED
from pilotfish.node.status import State, container_state, status_word
from pilotfish.node.store import Change, Stored
from pilotfish.runtime.agent import Agent
from pilotfish.runtime.control.views import (
    ChangeView,
    ContainerView,
    InboundView,
    PodView,
    ProxyView,
    ServiceView,
    SyncView,
)
from pilotfish.runtime.node.node_proxy import NodeProxy
from pilotfish.runtime.node.pod import Pod
from pilotfish.runtime.node.publish import Port

UNCAPTURED = "the pod has no sidecar: the node balances what it sends to Services, and no rule of the mesh applies"
_PATIENCE = 5.0
"""Seconds for which a certificate that is not renewed is no news: discovery may just be started again."""


def describe_pod(pod: Pod) -> PodView:
    identity, state = pod.identity, pod.state
    containers = tuple(_container(pod, c) for c in state.containers)
    proxy = (_proxy_container(pod),) if state.captured else ()
    return PodView(
        namespace=identity.namespace,
        name=identity.name,
        phase="Terminating" if state.deleted else state.phase,
        created_at=pod.created_at,
        netns=str(pod.sandbox.netns.path),
        directory=identity.directory,
        reason=status_word(state),
        addresses=identity.addresses,
        owner=f"{identity.owner.kind.name.lower()}/{identity.owner.name}" if identity.owner else "",
        labels=dict(identity.labels),
        ready=state.ready,
        captured=state.captured,
        gateway=pod.sandbox.proxy.type is ProxyType.ROUTER,
        machine=identity.node_name if pod.sandbox.on_node else "",
        admin_port=pod.sandbox.agent.admin.port if pod.sandbox.agent else ADMIN_PORT,
        admin_netns=_admin_netns(pod),
        containers=(*containers, *proxy),
        exec={c.name: str(pod.containers.launch_path(c.name)) for c in state.containers if c.started_at is not None},
        notes=(*pod.notes, *(() if state.captured else (UNCAPTURED,))),
    )


def describe_proxy(pod: Pod, sync: SyncView | None) -> ProxyView:
    agent = pod.sandbox.agent
    certificate = agent.status.certificate if agent is not None else None
    taken = agent.taken if agent is not None else Taken()
    return ProxyView(
        namespace=pod.identity.namespace,
        pod=pod.identity.name,
        node_id=pod.sandbox.proxy.id,
        ready=agent is not None and agent.ready,
        restarts=agent.restarts if agent else 0,
        pid=agent.pid if agent else None,
        sync=sync,
        certificate=certificate.certificate if certificate is not None else None,
        certificate_error=certificate.error if certificate is not None else "",
        inbound=InboundView(connections=taken.connections, mutual=taken.mutual),
        machine=pod.identity.node_name if pod.sandbox.on_node else "",
    )


def describe_machine(node_proxy: NodeProxy, sync: SyncView | None) -> ProxyView | None:
    """None as long as no pod needs one."""
    proxy, agent = node_proxy.proxy, node_proxy.agent
    if agent is None:
        return None
    certificate = agent.status.certificate
    return ProxyView(
        namespace=proxy.namespace,
        pod=proxy.name,
        node_id=proxy.id,
        ready=agent.ready,
        restarts=agent.restarts,
        pid=agent.pid,
        sync=sync,
        certificate=certificate.certificate,
        certificate_error=certificate.error,
        serves=node_proxy.pods,
    )


def _admin_netns(pod: Pod) -> str:
    netns = pod.sandbox.agent.admin.netns if pod.sandbox.agent is not None else None
    return str(netns.path) if netns is not None and netns != pod.sandbox.netns else ""


def certificate_problem(agent: Agent | None, pod: ObjectRef | None, now: float) -> Problem | None:
    """A certificate that is not renewed, as soon as that has failed for a while: in the middle of its life. `pod`: None
    for the machine's proxy."""
    status = agent.status.certificate if agent is not None else None
    if status is None or not status.error or status.failing_since is None or now - status.failing_since < _PATIENCE:
        return None
    since = f"for {now - status.failing_since:.0f} s"
    held = status.certificate
    if held is None:
        what, severity = f"it has had no certificate {since}, and is not ready", Severity.ERROR
    elif held.not_after <= now:
        what, severity = f"its certificate expired {now - held.not_after:.0f} s ago: no peer takes it", Severity.ERROR
    else:
        what = f"its certificate is not renewed {since}; it is valid for {held.not_after - now:.0f} s more"
        severity = Severity.WARNING
    whose = "" if pod is not None else "the machine's proxy: "
    message = f"{whose}{what}: {status.error}; 'pilotfish status' says whether discovery runs, and discovery.log more"
    return Problem(pod, "", "CertificateNotRenewed", message, severity)


def describe_service(
    stored: Stored,
    service: Service,
    cluster_ip: str,
    backends: tuple[Backend, ...],
    host_port: Callable[[ServicePort], Port | None],
) -> ServiceView:
    """`endpoints` are the ready ones, without repetition."""
    found = endpoints(service, stored.ref.namespace, backends)
    opened = {port: host_port(port) for port in service.spec.ports if service.spec.type in EXPOSED}
    return ServiceView(
        namespace=stored.ref.namespace,
        name=stored.ref.name,
        type=service.spec.type,
        cluster_ip=service.spec.cluster_ip if service.spec.cluster_ip == "None" else cluster_ip,
        ports=tuple(_describe_port(port, opened.get(port)) for port in service.spec.ports),
        external=(*_balancer_addresses(service, opened.values()), *service.spec.external_ips),
        created_at=stored.created_at,
        endpoints=tuple(dict.fromkeys(f"{address}:{port}" for address, port in found)),
        selector=service.spec.selector,
    )


def describe_exposed(
    document: Mapping[str, object], service: Service, ports: Sequence[Port | None]
) -> dict[str, object]:
    """A Service of type NodePort or LoadBalancer as it is told, with the host's ports: `ports`, one for each of its."""
    spec = document.get("spec")
    spec = dict(spec) if isinstance(spec, Mapping) else {}
    written = spec.get("ports")
    spec["ports"] = [
        {**each, "nodePort": port.number} if port is not None else each
        for each, port in zip(written if isinstance(written, list) else (), ports, strict=False)
    ]
    opened = [port for port in ports if port is not None]
    ingress = [
        {"ip": address, "ports": [_describe_opened(port) for port in opened if port.publish.address == address]}
        for address in _balancer_addresses(service, opened)
    ]
    return {**document, "spec": spec, "status": {"loadBalancer": {"ingress": ingress} if ingress else {}}}


def _describe_opened(port: Port) -> dict[str, object]:
    return {"port": port.number, "protocol": port.publish.protocol}


def _balancer_addresses(service: Service, ports: Iterable[Port | None]) -> tuple[str, ...]:
    found = (port.publish.address for port in ports if port is not None)
    return tuple(dict.fromkeys(found)) if service.spec.type == "LoadBalancer" else ()


def _describe_port(port: ServicePort, opened: Port | None) -> str:
    """`8888/TCP`, `80:30080/TCP`."""
    return f"{port.port}{f':{opened.number}' if opened is not None else ''}/{port.protocol}"


def describe_change(change: Change) -> ChangeView:
    kind, namespace, name = change.ref.kind, change.ref.namespace, change.ref.name
    return ChangeView(kind=kind.name, group=kind.group, namespace=namespace, name=name, action=change.action)


def backend(pod: Pod) -> Backend:
    identity = pod.identity
    return Backend(
        identity.namespace, identity.name, identity.labels, identity.addresses[0], identity.spec, pod.state.ready
    )


def _container(pod: Pod, c: ContainerState) -> ContainerView:
    state, reason, message = container_state(c, pod.state)
    return ContainerView(
        name=c.name,
        kind=c.kind,
        state=state,
        reason=reason,
        message=pod.pulling(c) or message,
        ready=c.ready if c.kind != "init" else c.over and c.exit_code == 0,
        started=c.started,
        restarts=c.run,
        pid=c.pid,
        exit_code=c.exit_code,
        started_at=None if c.started_at is None else wall(c.started_at),
        log=str(pod.containers.log_path(c.name)),
    )


def _proxy_container(pod: Pod) -> ContainerView:
    log = str(pod.containers.log_path(PROXY_CONTAINER))
    agent = pod.sandbox.agent
    if agent is None:
        return ContainerView(name=PROXY_CONTAINER, kind="proxy", state="waiting", reason="ContainerCreating", log=log)
    status = agent.status
    return ContainerView(
        name=PROXY_CONTAINER,
        kind="proxy",
        state=_STATES.get(status.state, "waiting"),
        reason=status.reason,
        message=status.message,
        ready=status.ready,
        started=status.ready,
        restarts=status.restarts,
        pid=status.pid,
        exit_code=status.exit_code,
        started_at=status.started_at,
        log=log,
    )


_STATES: dict[str, State] = {"waiting": "waiting", "running": "running", "terminated": "terminated"}


def wall(at: float) -> float:
    """Seconds since the epoch of a time on the loop's clock."""
    return time.time() - (asyncio.get_running_loop().time() - at)
