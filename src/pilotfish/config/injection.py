"""Whether a pod gets a proxy: a sidecar beside its app, or a gateway in its place.

Source: https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/#controlling-the-injection-policy, and
injectRequired in https://github.com/istio/istio/blob/master/pkg/kube/inject/inject.go; of gateways,
https://istio.io/latest/docs/setup/additional-setup/gateway/#deploying-a-gateway
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pilotfish.config.kubernetes import Container, Metadata, PodSpec
from pilotfish.model.wellknown import PROXY_CONTAINER

INJECT: Final = "sidecar.istio.io/inject"
TEMPLATES: Final = "inject.istio.io/templates"
_GATEWAY: Final = "gateway"
_ROUTER: Final = ("proxy", "router")
OF_NAMESPACE: Final = "istio-injection"
ENABLED: Final = "enabled"
DISABLED: Final = "disabled"
_SYSTEM: Final = frozenset({"kube-system", "kube-public", "kube-node-lease", "local-path-storage"})
"""Namespaces whose pods never have one."""
_INCLUDED: Final = "traffic.sidecar.istio.io/includeInboundPorts"
_EXCLUDED: Final = "traffic.sidecar.istio.io/excludeInboundPorts"
_ALL: Final = "*"
_YES: Final = ("", "y", "yes", "true", "on")
COUNTED: Final = {
    "sidecar.istio.io/statsInclusionPrefixes": "inclusion_prefixes",
    "sidecar.istio.io/statsInclusionSuffixes": "inclusion_suffixes",
    "sidecar.istio.io/statsInclusionRegexps": "inclusion_regexps",
}
"""Annotations of old, each in the place of a field of `proxyStatsMatcher`; several values, separated by commas."""


def wants_sidecar(pod: Metadata, spec: PodSpec, namespace_labels: Mapping[str, str] = MappingProxyType({})) -> bool:
    """The label counts before the annotation, and a namespace that has none before both.

    Where nobody says anything there is one: on one machine no installation has to be spared. Every revision
    (`istio.io/rev`) is this mesh.
    """
    if spec.host_network or pod.namespace in _SYSTEM or namespace_labels.get(OF_NAMESPACE, ENABLED) != ENABLED:
        return False
    said = pod.labels.get(INJECT, pod.annotations.get(INJECT, ""))
    return said.strip().lower() in _YES


def asks_for_gateway(pod: Metadata, spec: PodSpec) -> bool:
    """The proxy that it gets is a gateway: its container `istio-proxy`, which the pod has itself."""
    said = pod.annotations.get(TEMPLATES, "")
    return is_router(spec) or (wants_sidecar(pod, spec) and _GATEWAY in (each.strip() for each in said.split(",")))


def is_router(spec: PodSpec) -> bool:
    """It is a gateway that needs no injection (`old_gateway`), whatever is said of that."""
    return any(runs_router(each) for each in spec.containers)


def capture_of(annotations: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Those that say which of a pod's ports the sidecar sees, sorted."""
    return tuple(sorted((key, value) for key, value in annotations.items() if key in (_INCLUDED, _EXCLUDED)))


def bypasses_sidecar(annotations: Mapping[str, str], port: int) -> bool:
    """What is sent to this port of the pod reaches the app as it comes."""
    included = annotations.get(_INCLUDED, _ALL).strip()
    return port in _ports(annotations.get(_EXCLUDED, "")) or (included != _ALL and port not in _ports(included))


def _ports(listed: str) -> frozenset[int]:
    """What is no number has been said of: such a pod is not started."""
    return frozenset(int(each) for each in listed.split(",") if each.strip().isdecimal())


def runs_router(container: Container) -> bool:
    return container.name == PROXY_CONTAINER and container.args[:2] == _ROUTER
