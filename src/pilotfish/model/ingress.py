"""What comes to a workload, between the users' APIs and Envoy: what a Sidecar says of its own ports."""

from __future__ import annotations

from dataclasses import dataclass

from pilotfish.model.gateway import ServerTLS
from pilotfish.model.protocol import Protocol
from pilotfish.model.ref import ObjectRef
from pilotfish.model.traffic_policy import ConnectionPool, Passing


@dataclass(frozen=True, slots=True)
class InboundPool:
    """The connections from the proxy to its app, and how they are passed on."""

    pool: ConnectionPool
    passing: Passing | None = None


@dataclass(frozen=True, slots=True)
class IngressListener:
    ref: ObjectRef
    """The Sidecar."""
    number: int
    protocol: Protocol
    """What is spoken where TLS has been ended, if the proxy ends it."""
    bind: str = ""
    """An address of the pod; "" is its first."""
    bound: bool = False
    """Connections are not captured: clients connect to the address itself."""
    endpoint: str = ""
    """Where the app listens: `127.0.0.1:8080`, `[::1]:8080`, `0.0.0.0:8080` (the pod's own address), `unix:///PATH`;
    "" is the address that was called."""
    tls: ServerTLS | None = None
    pool: InboundPool | None = None
