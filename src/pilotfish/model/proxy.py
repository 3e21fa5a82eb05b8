"""Who asks discovery for configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pilotfish.model.addresses import is_ip
from pilotfish.model.service import Locality
from pilotfish.model.wellknown import namespace_domain

NODE_ID_FORM: Final = "sidecar~ADDRESS~POD.NAMESPACE~NAMESPACE.svc.DOMAIN, or router~…, or node~…"
LONGEST_NODE_ID: Final = 640
"""Characters: the type, an address (45), a pod's name (253), its namespace (63) and the domain of that."""
CERTIFIED: Final = "MESH_CERTIFICATES"
"""Node metadata: "true" where the bootstrap has the cluster for certificates."""
SELF_DISCOVERY: Final = "ENABLE_SELF_DISCOVERY"
"""Node metadata: "true" where the bootstrap has the cluster of the workload's own proxies."""
NETNS_PREFIX: Final = "NETNS_PREFIX"
"""Node metadata of a machine's proxy: as `Proxy.netns_prefix`."""
_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?", re.ASCII)


class ProxyType(StrEnum):
    """As node ids begin."""

    SIDECAR = "sidecar"
    """Beside an app, whose traffic it is sent."""
    ROUTER = "router"
    """A gateway: traffic comes to it by its own address."""
    NODE = "node"
    """For all pods of a machine that have none of their own: it listens in their network namespaces."""


_TYPES: Final = frozenset(str(each) for each in ProxyType)


@dataclass(frozen=True, slots=True)
class NodeId:
    """How a proxy calls itself: `sidecar~10.244.0.2~webapp-0.vm~vm.svc.cluster.local`, as Istio's do."""

    address: str
    name: str
    namespace: str
    domain: str
    type: ProxyType = ProxyType.SIDECAR

    @classmethod
    def parse(cls, text: str) -> NodeId | None:
        """The reverse of `str`; None if `text` is no proxy's id, or too long for one."""
        parts = text.split("~") if len(text) <= LONGEST_NODE_ID else []
        if len(parts) != 4 or parts[0] not in _TYPES or not is_ip(parts[1]):
            return None
        name, _, namespace = parts[2].rpartition(".")
        if not all(_NAME.fullmatch(part) for part in (name, namespace, parts[3])):
            return None
        return cls(parts[1], name, namespace, parts[3], ProxyType(parts[0]))

    @property
    def pod(self) -> str:
        """`webapp-0.vm`."""
        return f"{self.name}.{self.namespace}"

    def __str__(self) -> str:
        return f"{self.type}~{self.address}~{self.pod}~{self.domain}"


@dataclass(frozen=True, slots=True)
class Proxy:
    """One Envoy, as its node id and metadata describe it."""

    id: str
    """A NodeId's text."""
    name: str
    namespace: str
    domain: str
    addresses: tuple[str, ...]
    """The pod's addresses, the id's first. Text form of IPv4 or IPv6."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    transparent: bool = False
    """Inbound connections reach it by TPROXY (INTERCEPTION_MODE): the app is to see their source."""
    type: ProxyType = ProxyType.SIDECAR
    group: str = ""
    """The WorkloadGroup of its namespace by which it asks to be registered."""
    vouched: bool = True
    """It is known to be the pod that it says it is."""
    certified: bool = False
    """Its bootstrap has the cluster that serves it the mesh's certificates: what it is sent may refer to them."""
    discovers_itself: bool = False
    """Its bootstrap has a cluster of the proxies of its own workload, which discovery is asked for."""
    netns_prefix: str = ""
    """Of a machine's proxy: the file of a pod's network namespace is this, with `NAMESPACE.POD` after it."""

    @classmethod
    def of_pod(
        cls,
        name: str,
        namespace: str,
        addresses: tuple[str, ...],
        domain: str = "",
        labels: Mapping[str, str] = {},
        type: ProxyType = ProxyType.SIDECAR,
    ) -> Proxy:
        """The proxy of a pod; `domain` "" is that of its namespace."""
        node_id = NodeId(addresses[0], name, namespace, domain or namespace_domain(namespace), type)
        return cls(str(node_id), name, namespace, node_id.domain, addresses, labels, type=type)

    @classmethod
    def parse(cls, node_id: str, metadata: Mapping[str, object]) -> Proxy | None:
        """From an Envoy Node's id and metadata (NAMESPACE, LABELS, INSTANCE_IPS, INTERCEPTION_MODE, MESH_CERTIFICATES,
        ENABLE_SELF_DISCOVERY, NETNS_PREFIX).

        None if the id is not a proxy's.
        """
        found = NodeId.parse(node_id)
        if found is None:
            return None
        stated = metadata.get("NAMESPACE")
        ips = metadata.get("INSTANCE_IPS")
        more = tuple(ip for ip in str(ips).split(",") if ip and ip != found.address) if ips else ()
        labels = metadata.get("LABELS")
        return cls(
            id=node_id,
            name=found.name,
            namespace=stated if isinstance(stated, str) and stated else found.namespace,
            domain=found.domain,
            addresses=(found.address, *more),
            labels={str(k): str(v) for k, v in labels.items()} if isinstance(labels, Mapping) else {},
            transparent=metadata.get("INTERCEPTION_MODE") == "TPROXY",
            type=found.type,
            group=str(metadata.get("AUTO_REGISTER_GROUP") or ""),
            certified=metadata.get(CERTIFIED) == "true",
            discovers_itself=metadata.get(SELF_DISCOVERY) == "true",
            netns_prefix=str(metadata.get(NETNS_PREFIX) or "") if found.type is ProxyType.NODE else "",
        )

    def netns_of(self, name: str, namespace: str) -> str:
        """Of a machine's proxy: the file of a pod's network namespace."""
        return f"{self.netns_prefix}{namespace}.{name}"

    @property
    def locality(self) -> Locality:
        """Where it runs, as its workload's labels say."""
        return Locality.of_labels(self.labels)

    def __str__(self) -> str:
        return f"{self.name}.{self.namespace}"
