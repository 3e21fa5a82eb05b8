"""What holds for the traffic of every proxy of a mesh, whichever API said so."""

from __future__ import annotations

from dataclasses import dataclass

from pilotfish.model.traffic_policy import Keepalive
from pilotfish.model.values import Duration


@dataclass(frozen=True, slots=True)
class AccessLog:
    path: str
    """Where Envoy writes; `/dev/stdout` is its own output."""
    format: str = ""
    """Envoy's command operators, or a JSON object of them; "" for Istio's default."""
    json: bool = False


@dataclass(frozen=True, slots=True)
class MeshSettings:
    access_log: AccessLog | None
    connect_timeout: Duration
    detection_timeout: Duration
    """How long a sniffed connection's first bytes are waited for; 0 is for ever."""
    dns_refresh: Duration
    """How often a name is asked for whose answer does not say how long it holds."""
    allow_any: bool
    """What no service claims is let pass, rather than refused."""
    keepalive: Keepalive | None = None
    """Of connections to services, where their policy says nothing of it."""
    upgrade: bool = False
    """Ports that declare HTTP are called over HTTP/2, where their policy says nothing of it."""
    trusted_proxies: int = 0
    """In front of gateways: how many of the addresses in X-Forwarded-For are believed."""
