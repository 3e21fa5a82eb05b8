"""One proxy's ADS stream, as discovery knows it."""

from __future__ import annotations

from dataclasses import dataclass

from pilotfish.ads import Stream
from pilotfish.discovery.admission import Caller
from pilotfish.envoy.naming import pod_listener_names
from pilotfish.envoy.types import LISTENER
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

    def listens_for(self, pod: str) -> bool:
        """Of a machine's proxy: it has taken the listeners of a pod, `webapp-0.vm`, as they are to be, and with them
        all that these lead to: Envoy listens where what it needs for that is there."""
        due = self.stream.resources
        watch = self.stream.watches.get(LISTENER)
        if due is None or watch is None or not self.is_complete:
            return False
        own = [due.get(LISTENER, name) for name in pod_listener_names(pod)]
        return all(each is not None and watch.proven(each.name) == each.version for each in own)
