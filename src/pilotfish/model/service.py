"""Services and their endpoints, whatever kind of object declared them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from pilotfish.model.kinds import SERVICE
from pilotfish.model.protocol import Protocol
from pilotfish.model.ref import ObjectRef

Transport = Literal["TCP", "UDP"]


class Resolution(StrEnum):
    """How a proxy finds a service's endpoints."""

    EDS = "EDS"
    """Discovery knows them."""
    DNS = "DNS"
    """The proxy resolves names, and balances over all their addresses."""
    DNS_ROUND_ROBIN = "DNS_ROUND_ROBIN"
    """The proxy resolves names, and uses the first address of each answer."""
    DYNAMIC_DNS = "DYNAMIC_DNS"
    """The proxy looks up what the request, or the TLS handshake, calls its host."""
    PASSTHROUGH = "PASSTHROUGH"
    """The client chose an address; the proxy sends there."""


class Proximity(StrEnum):
    """Which endpoints are asked before all others."""

    ZONE = "PreferSameZone"
    """Those of the client's zone, then those of its region."""
    NODE = "PreferSameNode"
    """Those of its node, then those of its subzone, zone and region."""


@dataclass(frozen=True, slots=True)
class ServicePort:
    number: int
    name: str
    protocol: Protocol
    target: int | str
    """The endpoints' port: a number, or the name of a container port."""
    transport: Transport = "TCP"


@dataclass(frozen=True, slots=True)
class Service:
    """One host name of the mesh, with its ports. Hosts are lower-case and have no trailing dot."""

    ref: ObjectRef
    """The Service or ServiceEntry that declared it."""
    host: str
    """`calculator.vm.svc.cluster.local`, `api.example.com`, `*.example.com`."""
    namespace: str
    ports: tuple[ServicePort, ...]
    """In the order in which they were written; UDP ports are left out."""
    addresses: tuple[str, ...] = ()
    """Virtual addresses; a ServiceEntry's may be CIDR blocks."""
    allocated: bool = False
    """The addresses are discovery's: whoever asked another DNS than the mesh's calls others."""
    resolution: Resolution = Resolution.EDS
    headless: bool = False
    """A Kubernetes Service with `clusterIP: None`."""
    external: bool = False
    """Outside the mesh: its endpoints have no sidecar."""
    selector: tuple[tuple[str, str], ...] = ()
    """Labels of the pods that are its endpoints, sorted; none where others list the endpoints."""
    subject_alt_names: tuple[str, ...] = ()
    """Who its servers say they are over TLS, where the client's policy names nobody."""
    publish_not_ready: bool = False
    prefers: Proximity | None = None
    """None: it does not matter where an endpoint is."""
    created: str = ""
    """RFC 3339; "" if unknown. Where two objects claim the same thing the older one wins."""

    @property
    def short_name(self) -> str:
        """The Kubernetes Service's own name; the whole host otherwise."""
        return self.ref.name if self.is_kubernetes else self.host

    @property
    def is_kubernetes(self) -> bool:
        return self.ref.kind is SERVICE

    def port(self, number: int) -> ServicePort | None:
        return next((p for p in self.ports if p.number == number), None)

    def port_named(self, name: str) -> ServicePort | None:
        return next((p for p in self.ports if p.name == name), None)


TLS_MODE_LABEL: Final = "security.istio.io/tlsMode"
"""`istio` on pods that have a sidecar: injection puts it there."""
MUTUAL: Final = "istio"
LOCALITY_LABELS: Final = ("topology.istio.io/locality", "istio-locality")
"""`region.zone.subzone`, or with `/`; the first that is there counts."""
TOPOLOGY_LABELS: Final = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")
_OF_OLD: Final = {label: label.replace("topology", "failure-domain.beta") for label in TOPOLOGY_LABELS[:2]}
HOSTNAME_LABEL: Final = "kubernetes.io/hostname"
NETWORK_LABEL: Final = "topology.istio.io/network"


@dataclass(frozen=True, slots=True, order=True)
class Locality:
    """Source: https://istio.io/latest/docs/tasks/traffic-management/locality-load-balancing/"""

    region: str = ""
    zone: str = ""
    sub_zone: str = ""

    @classmethod
    def parse(cls, text: str) -> Locality:
        """From `region/zone/sub-zone`, of which the last parts may be missing."""
        return cls(*text.split("/", 2)) if text else cls()

    @classmethod
    def of_labels(cls, labels: Mapping[str, str]) -> Locality:
        """A workload's: its own, else what its node is labelled with."""
        stated = next((labels[label] for label in LOCALITY_LABELS if label in labels), "")
        if stated:
            return cls.parse(stated if "/" in stated else stated.replace(".", "/"))
        return cls(*(labels.get(label) or labels.get(_OF_OLD.get(label, ""), "") for label in TOPOLOGY_LABELS))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address that serves a service's port."""

    address: str
    """An IP address, a name where the service's resolution is DNS, or `unix://` and a socket's path."""
    port: int
    labels: tuple[tuple[str, str], ...] = ()
    """Sorted."""
    ready: bool = True
    locality: Locality = Locality()
    weight: int = 1
    ref: ObjectRef | None = None
    """The pod or slice that it comes from."""
    account: str = ""
    """Its service account; "" if unknown. Its namespace is that of `ref`."""
    mutual: bool = False
    """It has a proxy that ends mutual TLS."""
    reads: str = ""
    """What asks this proxy to read requests, of the workload's own; "" for nothing."""

    def has_labels(self, wanted: tuple[tuple[str, str], ...]) -> bool:
        return not wanted or set(wanted) <= set(self.labels)
