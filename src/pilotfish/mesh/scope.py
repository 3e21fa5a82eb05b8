"""What a proxy may see, and who sees the same.

Everything outbound is kept by scope, not by proxy. Each collection asks for the *widest* scope that sees the same of it
(`visibility.visible`, `policies.policed`): with a thousand namespaces that all see everything, there is one set of
listeners.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Final

from pilotfish.model import ObjectRef, Proxy
from pilotfish.model.egress import Egress
from pilotfish.model.proxy import ProxyType
from pilotfish.model.service import Locality

_ANYWHERE: Final = Locality()


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a client is, as far as that decides which endpoints are near."""

    locality: Locality = _ANYWHERE
    labels: tuple[tuple[str, str], ...] = ()
    """Those by which policies tell what is near; sorted."""
    compares: bool = False
    """Its Envoy knows how the proxies of its workload are spread over zones (`Proxy.discovers_itself`)."""


NOWHERE: Final = Place()


@dataclass(frozen=True, slots=True)
class Scope:
    """Proxies of one scope share the same outbound resources, byte for byte."""

    namespace: str = ""
    """Whose; "" is nobody's: what is the same for every namespace."""
    labels: tuple[tuple[str, str], ...] = ()
    """Those of its proxies' by which VirtualServices tell clients apart, sorted. Nothing else depends on them."""
    selected_by: tuple[ObjectRef, ...] = ()
    """The DestinationRules that are for some workloads of the namespace only, and for these, the oldest first."""
    place: Place = NOWHERE
    """Of its proxies, where policies tell endpoints apart by it, or their Envoys would."""
    router: bool = False
    """Its proxies are gateways, which take credentials of every DestinationRule's from their own namespace."""
    vouched: bool = True
    """Its proxies are the pods that they say they are. Others get no Secret."""
    egress: Egress | None = None
    """What a Sidecar lets its proxies see; None: all hosts, and what no host claims as the mesh has it."""

    @classmethod
    def of(
        cls,
        proxy: Proxy,
        labels: Set[tuple[str, str]] = frozenset(),
        selected_by: tuple[ObjectRef, ...] = (),
        credentials: bool = False,
        egress: Egress | None = None,
        place: Place = NOWHERE,
    ) -> Scope:
        """`labels` tell clients apart (`routing.sources`); `credentials`: sidecars may be given some."""
        own = tuple(sorted(label for label in proxy.labels.items() if label in labels))
        router = proxy.type is ProxyType.ROUTER
        vouched = proxy.vouched or not (router or credentials)
        return cls(proxy.namespace, own, selected_by, place, router, vouched, egress)

    def is_source(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Its proxies are clients such as a VirtualService's match asks for; "" is any namespace."""
        return namespace in ("", self.namespace) and labels.items() <= dict(self.labels).items()


EVERYONE: Final = Scope()
