"""Which kinds there are: those that pilotfish uses, and those of the same APIs that it knows and does not use."""

from __future__ import annotations

from typing import get_args

from pilotfish.config import istio, kubernetes
from pilotfish.config.manifest import Kind

_ISTIO_NETWORKING = ("networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3")

CLUSTER_SCOPED = frozenset({"Namespace"})

_VERSIONS: dict[type[Kind], tuple[str, ...]] = {
    **dict.fromkeys(get_args(Kind), ("v1",)),
    kubernetes.Deployment: ("apps/v1",),
    kubernetes.EndpointSlice: ("discovery.k8s.io/v1",),
    istio.VirtualService: _ISTIO_NETWORKING,
    istio.DestinationRule: _ISTIO_NETWORKING,
    istio.ServiceEntry: _ISTIO_NETWORKING,
}
_TYPES: dict[tuple[str, str], type[Kind]] = {
    (version, kind.__name__): kind for kind, versions in _VERSIONS.items() for version in versions
}
_BY_NAME = {kind.__name__: versions for kind, versions in _VERSIONS.items()}
_KNOWN_GROUPS = frozenset({"v1", "apps", "extensions", "core", "discovery.k8s.io", "networking.istio.io"})
"""A kind under another version of these is a slip; under any other group it is somebody else's kind."""

_ISTIO_GROUPS = ("networking.istio.io/", "security.istio.io/", "telemetry.istio.io/", "extensions.istio.io/")
_GATEWAY_API = "gateway.networking.k8s.io/"
_NOT_YET = {
    "Gateway": "no port is opened for traffic from outside; publish a Service with `up --publish`",
    "Sidecar": "every proxy sees every service",
    "PeerAuthentication": "traffic between pods is not encrypted, and plaintext is accepted",
    "RequestAuthentication": "no token is checked",
    "AuthorizationPolicy": "no request is refused because of it",
    "EnvoyFilter": "Envoy's configuration is not patched",
    "WorkloadEntry": "it is no endpoint of any service; list it in a ServiceEntry's endpoints",
    "WorkloadGroup": "nothing is made of it",
    "ProxyConfig": "use the annotation proxy.istio.io/config or meshConfig.defaultConfig",
    "WasmPlugin": "no plugin is loaded",
    "Telemetry": "access logs and metrics follow meshConfig alone",
}
_WORKLOADS = frozenset({"StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob"})
_WITHOUT_EFFECT = {
    **dict.fromkeys(
        ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"),
        "there is no API server whose access it could govern",
    ),
    "HorizontalPodAutoscaler": "the number of replicas stays as written; use `scale`",
    "PodDisruptionBudget": "there are no evictions",
    "PriorityClass": "all pods run on one machine, and none is evicted",
    "LimitRange": "resources are not limited",
    "ResourceQuota": "resources are not limited",
    "CustomResourceDefinition": "objects of that kind have no effect",
    "StorageClass": "there are no persistent volumes",
}


def find_kind(api_version: str, kind: str) -> type[Kind] | None:
    return _TYPES.get((api_version, kind))


def is_kind(kind: str) -> bool:
    return kind in _BY_NAME


def describe_unknown(api_version: str, kind: str) -> tuple[str, str, bool]:
    """For a kind that `find_kind` does not find: reason, message, and whether leaving it out is an error."""
    versions = _BY_NAME.get(kind)
    if versions and api_version.partition("/")[0] in _KNOWN_GROUPS:
        wanted = " or ".join(versions)
        message = f"there is no {kind} in {api_version!r}, so the object is not used; write apiVersion: {wanted}"
        return "UnknownKind", message, True
    if api_version.startswith(_ISTIO_GROUPS) and kind in _NOT_YET:
        return "UnsupportedKind", f"{kind} is not supported yet; it has no effect: {_NOT_YET[kind]}", True
    if api_version.startswith(_GATEWAY_API):
        message = f"{kind} of the Gateway API is not supported yet; it has no effect: use a VirtualService"
        return "UnsupportedKind", message, True
    if kind in _WITHOUT_EFFECT:
        return "UnsupportedKind", f"{kind} has no effect: {_WITHOUT_EFFECT[kind]}", False
    if kind in _WORKLOADS:
        return "UnsupportedKind", f"{kind} is not supported, so its pods do not run; use a Deployment or a Pod", True
    known = ", ".join(sorted(_BY_NAME))
    return "UnknownKind", f"{kind} of {api_version} is not a supported kind; it has no effect. Supported: {known}", True
