"""Who asks discovery for configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Proxy:
    """One sidecar, as its node id and metadata describe it.

    The id is `sidecar~10.244.0.2~webapp-0.vm~vm.svc.cluster.local`: type, address, name and namespace, DNS domain.
    """

    id: str
    name: str
    namespace: str
    domain: str
    addresses: tuple[str, ...]
    """The pod's addresses, the id's first. Text form of IPv4 or IPv6."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    transparent: bool = False
    """Inbound connections reach it by TPROXY (INTERCEPTION_MODE): the app is to see their source."""

    @classmethod
    def parse(cls, node_id: str, metadata: Mapping[str, object]) -> Proxy | None:
        """From an Envoy Node's id and metadata (NAMESPACE, LABELS, INSTANCE_IPS, INTERCEPTION_MODE).

        None if the id is not a sidecar's.
        """
        parts = node_id.split("~")
        if len(parts) != 4 or parts[0] != "sidecar" or not parts[1]:
            return None
        name, _, namespace = parts[2].rpartition(".")
        if not name:
            return None
        stated = metadata.get("NAMESPACE")
        ips = metadata.get("INSTANCE_IPS")
        more = tuple(ip for ip in str(ips).split(",") if ip and ip != parts[1]) if ips else ()
        labels = metadata.get("LABELS")
        return cls(
            id=node_id,
            name=name,
            namespace=stated if isinstance(stated, str) and stated else namespace,
            domain=parts[3],
            addresses=(parts[1], *more),
            labels={str(k): str(v) for k, v in labels.items()} if isinstance(labels, Mapping) else {},
            transparent=metadata.get("INTERCEPTION_MODE") == "TPROXY",
        )

    def __str__(self) -> str:
        return f"{self.name}.{self.namespace}"
