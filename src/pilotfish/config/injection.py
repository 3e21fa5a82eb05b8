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
_OF_NAMESPACE: Final = "istio-injection"
_YES: Final = ("", "y", "yes", "true", "on")


def wants_sidecar(pod: Metadata, namespace_labels: Mapping[str, str] = MappingProxyType({})) -> bool:
    """The label counts before the annotation, and a namespace that has none before both."""
    said = pod.labels.get(INJECT, pod.annotations.get(INJECT, ""))
    return said.strip().lower() in _YES and namespace_labels.get(_OF_NAMESPACE) != "disabled"


def asks_for_gateway(pod: Metadata, spec: PodSpec) -> bool:
    """The proxy that it gets is a gateway: its container `istio-proxy`, which the pod has itself."""
    said = pod.annotations.get(TEMPLATES, "")
    return is_router(spec) or (wants_sidecar(pod) and _GATEWAY in (each.strip() for each in said.split(",")))


def is_router(spec: PodSpec) -> bool:
    """It is a gateway that needs no injection (`old_gateway`), whatever is said of that."""
    return any(runs_router(each) for each in spec.containers)


def runs_router(container: Container) -> bool:
    return container.name == PROXY_CONTAINER and container.args[:2] == _ROUTER
