"""Whether a pod gets a proxy: a sidecar beside its app, or a gateway in its place.

Source: https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/#controlling-the-injection-policy, and
injectRequired in https://github.com/istio/istio/blob/master/pkg/kube/inject/inject.go; of gateways,
https://istio.io/latest/docs/setup/additional-setup/gateway/#deploying-a-gateway
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pilotfish.config.kubernetes import Container, Metadata, PodSpec
from pilotfish.config.mesh import LabelSelector
from pilotfish.config.selecting import fits
from pilotfish.model.wellknown import PROXY_CONTAINER

INJECT: Final = "sidecar.istio.io/inject"
TEMPLATES: Final = "inject.istio.io/templates"
_GATEWAY: Final = "gateway"
_ROUTER: Final = ("proxy", "router")
OF_NAMESPACE: Final = "istio-injection"
ENABLED: Final = "enabled"
DISABLED: Final = "disabled"
REVISION: Final = "istio.io/rev"
"""A label of a namespace or a pod: which installation, or tag of one, its sidecars are of."""
DEFAULT_REVISION: Final = "default"
"""How the installation without a name is called in labels."""
SYSTEM: Final = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")
"""Namespaces whose pods never have one."""
_INCLUDED: Final = "traffic.sidecar.istio.io/includeInboundPorts"
_EXCLUDED: Final = "traffic.sidecar.istio.io/excludeInboundPorts"
_ALL: Final = "*"
_YES: Final = ("y", "yes", "true", "on")
COUNTED: Final = {
    "sidecar.istio.io/statsInclusionPrefixes": "inclusion_prefixes",
    "sidecar.istio.io/statsInclusionSuffixes": "inclusion_suffixes",
    "sidecar.istio.io/statsInclusionRegexps": "inclusion_regexps",
}
"""Annotations of old, each in the place of a field of `proxyStatsMatcher`; several values, separated by commas."""


@dataclass(frozen=True, slots=True)
class InjectionPolicy:
    """What holds of a pod that says nothing itself, once somebody asks what is to become of it."""

    by_default: bool = True
    never: tuple[LabelSelector, ...] = ()
    """Pods with such labels have none. An empty selector is none, as in Istio."""
    always: tuple[LabelSelector, ...] = ()
    """Pods with such labels have one, unless `never` says otherwise."""


EVERYWHERE: Final = InjectionPolicy()
"""On one machine no installation has to be spared."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One of a cluster's installations, as labels of namespaces and pods name it."""

    name: str = DEFAULT_REVISION
    tags: tuple[str, ...] = ()
    """Other names for it; one of them, or its name, may be `default`."""
    by_default: bool = False
    """The default one has pods of namespaces and pods without labels, too: `enableNamespacesByDefault`."""
    spared: tuple[str, ...] = SYSTEM
    """Namespaces of which that does not hold."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.name, *self.tags)))

    @property
    def is_default(self) -> bool:
        return DEFAULT_REVISION in self.names


def revised(name: str, revision: str) -> str:
    """`istiod-canary`: what a revision has of its own; the default one has the name alone."""
    return name if revision in ("", DEFAULT_REVISION) else f"{name}-{revision}"


def named_by(of_namespace: Mapping[str, str]) -> str | None:
    """The revision, or the tag of one, that gives a namespace's pods their sidecars, by its labels; "" for none, None
    where they do not say."""
    if OF_NAMESPACE in of_namespace:
        return DEFAULT_REVISION if of_namespace[OF_NAMESPACE] == ENABLED else ""
    return of_namespace.get(REVISION)


def is_asked(revision: Revision, namespace: str, of_namespace: Mapping[str, str], of_pod: Mapping[str, str]) -> bool:
    """Whether the API server asks this revision what is to become of a pod, by the labels of both.

    A namespace's `istio-injection` counts before its `istio.io/rev`, and what a namespace says before a pod's
    `istio.io/rev`; `sidecar.istio.io/inject: "false"` before all of them. `pilotfish.inject.webhooks` says the same in
    selectors. Source: https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/
    """
    asked, stated = of_pod.get(INJECT), of_pod.get(REVISION)
    if asked == "false":
        return False
    if (named := named_by(of_namespace)) is not None:
        return named in revision.names
    if stated is not None:
        return stated in revision.names
    by_default = revision.by_default and asked is None and namespace not in revision.spared
    return revision.is_default and (asked == "true" or by_default)


def wants_sidecar(
    pod: Metadata,
    spec: PodSpec,
    namespace_labels: Mapping[str, str] = MappingProxyType({}),
    policy: InjectionPolicy = EVERYWHERE,
) -> bool:
    """The label counts before the annotation, a namespace that has none before both, and the policy after them.

    On one machine every revision (`istio.io/rev`) is this mesh. In a cluster the API server has looked at the
    namespace (`is_asked`), and nothing is to be said of it here.
    """
    if spec.host_network or pod.namespace in SYSTEM or namespace_labels.get(OF_NAMESPACE, ENABLED) != ENABLED:
        return False
    said = pod.labels.get(INJECT, pod.annotations.get(INJECT, "")).strip().lower()
    if said:
        return said in _YES
    if _fits_one(policy.never, pod.labels):
        return False
    return policy.by_default or _fits_one(policy.always, pod.labels)


def _fits_one(selectors: tuple[LabelSelector, ...], labels: Mapping[str, str]) -> bool:
    return any(each != LabelSelector() and fits(each, labels) for each in selectors)


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
