"""One proxy's ADS stream, as discovery knows it."""

from __future__ import annotations

from dataclasses import dataclass

from pilotfish.ads import Stream
from pilotfish.discovery.admission import Caller
from pilotfish.model import Proxy


@dataclass(slots=True, eq=False)
class ProxySession:
    id: str
    """`NAME.NAMESPACE-NUMBER`."""
    proxy: Proxy
    stream: Stream
    caller: Caller
    envoy: str = ""
    """Envoy's version."""
    delta: bool = True
    connected_at: float = 0.0
    """Seconds since the epoch."""
    is_settled: bool = True
    """The proxy has, and has acknowledged, all that it asked for. As of the last event."""
    is_complete: bool = False
    """It has asked for all that it should have. As of the last event."""
