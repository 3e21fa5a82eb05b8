"""The container `istio-proxy`: agent and Envoy, of a sidecar or of a gateway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from pilotfish.agent.metrics import ScrapeTarget
from pilotfish.agent.probes import ProbeTable, render_probers
from pilotfish.capture import Mode
from pilotfish.config.mesh import ProxyConfig
from pilotfish.config.values import parse_boolean
from pilotfish.inject.pod.installation import Document, Installation
from pilotfish.inject.pod.volumes import proxy_mounts
from pilotfish.inject.sidecar import Sidecar
from pilotfish.model.proxy import ProxyType
from pilotfish.model.wellknown import (
    HEALTH_PORT,
    PROMETHEUS_PORT,
    PROXY_CONTAINER,
    PROXY_GID,
    PROXY_UID,
    STATUS_PORT,
)

PROBERS: Final = "ISTIO_KUBE_APP_PROBERS"
PROMETHEUS: Final = "ISTIO_PROMETHEUS_ANNOTATIONS"
_SIDECAR: Final = "sidecar.istio.io/"
_READINESS: Final = "readiness.status.sidecar.istio.io/"
IMAGE: Final = f"{_SIDECAR}proxyImage"
BIND_LOW_PORTS: Final = f"{_SIDECAR}capNetBindService"
RESOURCES: Final = {
    f"{_SIDECAR}proxyCPU": ("requests", "cpu"),
    f"{_SIDECAR}proxyMemory": ("requests", "memory"),
    f"{_SIDECAR}proxyCPULimit": ("limits", "cpu"),
    f"{_SIDECAR}proxyMemoryLimit": ("limits", "memory"),
}
READINESS: Final = tuple(f"{_READINESS}{name}" for name in ("initialDelaySeconds", "periodSeconds", "failureThreshold"))
_METADATA: Final = ("APP_CONTAINERS", "INTERCEPTION_MODE", "OWNER", "WORKLOAD_NAME")
"""What the pod's own fields do not tell."""


def build_proxy(
    sidecar: Sidecar,
    annotations: Mapping[str, str],
    probes: ProbeTable,
    installation: Installation,
    *,
    native: bool,
    holds_app: bool,
) -> Document:
    """`native`: it stands among the init containers; `holds_app`: no other container is started before it is ready."""
    is_gateway = sidecar.type is ProxyType.ROUTER
    container: Document = {
        "name": PROXY_CONTAINER,
        "image": image_of(annotations, installation),
        **pull_policy(installation),
        "args": list(_arguments(sidecar)),
        "ports": [{"name": "http-envoy-prom", "containerPort": PROMETHEUS_PORT, "protocol": "TCP"}],
        "env": _environment(sidecar, probes, installation),
        "securityContext": _security_context(sidecar, annotations, installation),
        "readinessProbe": _readiness(annotations, installation),
        "volumeMounts": proxy_mounts(annotations),
    }
    if not is_gateway:
        container["resources"] = resources_of(annotations, installation)
        if tries := installation.values.proxy.startup_failure_threshold:
            container["startupProbe"] = {**_ready(), "periodSeconds": 1, "failureThreshold": tries}
    if native:
        container["restartPolicy"] = "Always"
    if hooks := installation.values.proxy.lifecycle or _hooks(native, holds_app, sidecar.proxy_config):
        container["lifecycle"] = hooks
    return container


def image_of(annotations: Mapping[str, str], installation: Installation) -> str:
    return annotations.get(IMAGE, "").strip() or installation.values.image


def pull_policy(installation: Installation) -> Document:
    policy = installation.values.pull_policy
    return {"imagePullPolicy": policy} if policy else {}


def _arguments(sidecar: Sidecar) -> Iterator[str]:
    yield "agent"
    if sidecar.type is ProxyType.ROUTER:
        yield "--gateway"
    yield f"--log-level={sidecar.wishes.log_level}"
    if sidecar.wishes.component_log_level:
        yield f"--component-log-level={sidecar.wishes.component_log_level}"


def _environment(sidecar: Sidecar, probes: ProbeTable, installation: Installation) -> list[Document]:
    """What the webhook's path says goes before what the values say."""
    stated = dict(installation.environment)
    found = [each for each in _variables(sidecar, probes, installation) if each["name"] not in stated]
    return [*found, *(_variable(name, value) for name, value in stated.items())]


def _variables(sidecar: Sidecar, probes: ProbeTable, installation: Installation) -> Iterator[Document]:
    values = installation.values
    discovery = sidecar.proxy_config.discovery_address
    yield _variable("CA_ADDR", values.ca_address or discovery)
    for name, path in (
        ("POD_NAME", "metadata.name"),
        ("POD_NAMESPACE", "metadata.namespace"),
        # All of its addresses, separated by commas.
        ("INSTANCE_IP", "status.podIPs"),
        ("HOST_IP", "status.hostIP"),
        ("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        ("ISTIO_META_NODE_NAME", "spec.nodeName"),
    ):
        yield {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
    yield {"name": "ISTIO_CPU_LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}
    yield _variable("PROXY_CONFIG", render_proxy_config(sidecar.proxy_config))
    yield _variable("ISTIO_META_CLUSTER_ID", values.cluster_name)
    for name in _METADATA:
        yield _variable(f"ISTIO_META_{name}", str(sidecar.metadata[name]))
    yield _variable("ISTIO_META_MESH_ID", values.mesh_id or installation.mesh.trust_domain)
    if values.network:
        yield _variable("ISTIO_META_NETWORK", values.network)
    if probes:
        yield _variable(PROBERS, render_probers(probes))
    if sidecar.prometheus is not None:
        yield _variable(PROMETHEUS, _render_target(sidecar.prometheus))


def _variable(name: str, value: str) -> Document:
    return {"name": name, "value": value}


def render_proxy_config(config: ProxyConfig) -> str:
    """JSON of what is other than usual."""
    return msgspec.json.encode(msgspec.to_builtins(config, enc_hook=str), order="sorted").decode()


def _render_target(target: ScrapeTarget) -> str:
    found = {"scrape": "true", "port": str(target.port), "path": target.path, "scheme": target.scheme}
    return msgspec.json.encode(found, order="sorted").decode()


def resources_of(annotations: Mapping[str, str], installation: Installation) -> Document:
    """With one of the annotations nothing but what they say holds, as in Istio."""
    stated: dict[str, dict[str, str]] = {}
    for name, (kind, resource) in RESOURCES.items():
        if name in annotations:
            stated.setdefault(kind, {})[resource] = annotations[name]
    return stated or dict(msgspec.to_builtins(installation.values.proxy.resources))


def _readiness(annotations: Mapping[str, str], installation: Installation) -> Document:
    proxy = installation.values.proxy
    usual = (
        proxy.readiness_initial_delay_seconds,
        proxy.readiness_period_seconds,
        proxy.readiness_failure_threshold,
    )
    stated = (
        (name.rpartition("/")[2], annotations.get(name, "").strip(), default)
        for name, default in zip(READINESS, usual, strict=True)
    )
    found = {field: int(text) if text else default for field, text, default in stated}
    return {**_ready(), **{field: seconds for field, seconds in found.items() if seconds}}


def _ready() -> Document:
    return {"httpGet": {"path": "/healthz/ready", "port": HEALTH_PORT}, "timeoutSeconds": 3}


def _security_context(sidecar: Sidecar, annotations: Mapping[str, str], installation: Installation) -> Document:
    """No more than is needed: to keep clients' addresses, or to listen below 1024, root with that one capability."""
    proxy = installation.values.proxy
    transparent = sidecar.capture is not None and sidecar.capture.mode is Mode.TPROXY
    binds = parse_boolean(annotations.get(BIND_LOW_PORTS)) is True
    capabilities: Document = {"drop": ["ALL"]}
    if transparent or binds:
        capabilities["add"] = [*(["NET_ADMIN"] if transparent else ()), *(["NET_BIND_SERVICE"] if binds else ())]
    as_root = transparent or binds
    found: Document = {
        "allowPrivilegeEscalation": proxy.privileged,
        "capabilities": capabilities,
        "privileged": proxy.privileged,
        "readOnlyRootFilesystem": True,
        "runAsGroup": PROXY_GID,
        "runAsNonRoot": not as_root,
        "runAsUser": 0 if as_root else PROXY_UID,
    }
    return {**found, "seccompProfile": proxy.seccomp_profile} if proxy.seccomp_profile else found


def _hooks(native: bool, holds_app: bool, config: ProxyConfig) -> Document:
    if native:
        # Told when the pod begins to end; the signal comes when its app is gone.
        return {"preStop": _ask(config, "drain")}
    return {"postStart": _ask(config, "wait")} if holds_app else {}


def _ask(config: ProxyConfig, what: str) -> Document:
    port = [] if config.status_port == STATUS_PORT else [f"--port={config.status_port}"]
    return {"exec": {"command": ["pilotfish", "agent-request", *port, what]}}
