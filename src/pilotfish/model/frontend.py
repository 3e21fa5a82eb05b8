"""A Service's port as the node's kernel serves it to whoever calls, with or without a proxy: kube-proxy's part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pilotfish.model.service import Transport


@dataclass(frozen=True, slots=True)
class Frontend:
    namespace: str
    service: str
    transport: Transport
    port: int
    addresses: tuple[str, ...]
    """IPv4: the cluster IP, then `externalIPs`. No other frontend has one of them with this transport and port."""
    endpoints: tuple[tuple[str, int], ...] = ()
    """(IPv4 address, port) of each that takes connections, without repetition. None: connections are refused."""
    affinity: int = 0
    """Seconds for which a client keeps its endpoint (`sessionAffinity: ClientIP`); 0: each connection has a choice."""

    @property
    def name(self) -> str:
        """`vm/calculator/tcp/8888`."""
        return f"{self.namespace}/{self.service}/{self.transport.lower()}/{self.port}"


Frontends = Mapping[str, Frontend]
"""By name."""
