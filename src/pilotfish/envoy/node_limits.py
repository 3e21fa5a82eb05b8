"""What the pods of a machine's proxy may take of it, so that none takes all.

What one pod can use up for all others is descriptors: a connection that is taken costs one, and as a rule one more for
that to which it leads. So Envoy takes fewer than it has descriptors for, and of one pod a share of these alone.

    cores ─▶ count_node_workers
    RLIMIT_NOFILE ─▶ NodeLimits ─┬─ connections  ─▶ the bootstrap's overload manager
                                 └─ for_one_pod  ─▶ Envoy's runtime, for the listeners of each pod

A worker serves its connections in turn, so who has many of them, all with something to say, has most of it. What comes
from one address is one worker's, in whatever pod it arrives (`runtime.linux.reuseport`): a caller has one, as with an
Envoy of its own, and a call between two pods of the machine is one worker's from end to end, which wakes it once. There
are more workers than cores, as the kernel divides these among threads better than a worker does among connections. Of
one connection with many requests (HTTP/2) one is begun a turn.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/best_practices/edge and
https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/listeners/runtime
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pilotfish.envoy.naming import pod_listener_names

_OWN: Final = 1024
"""Descriptors for what is no connection of a pod's: listeners, two for each pod and worker, discovery, logs."""
_WORKERS_FOR_A_CORE: Final = 2
FAIR: Final = {"http.max_requests_per_io_cycle": "1"}
"""Flags of Envoy's runtime. Source:
https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_conn_man/runtime"""
_FOR_ONE_POD: Final = 4
"""It takes so many pods that flood at the same time to take all."""


@dataclass(frozen=True, slots=True)
class NodeLimits:
    connections: int
    """Of all pods together."""
    for_one_pod: int
    """For each of its listeners."""

    @classmethod
    def of(cls, descriptors: int) -> NodeLimits:
        """`descriptors`: what Envoy may have open at once."""
        connections = max(1, (descriptors - _OWN) // 2)
        return cls(connections, max(1, connections // _FOR_ONE_POD))

    def runtime_of(self, pod: str) -> dict[str, str]:
        """Flags of Envoy's runtime for a pod, which is NAME.NAMESPACE.

        Connections that a listener hands to another (`use_original_dst`) are that one's, which all pods have: those of
        a pod's own app to services are bounded by the descriptors that the app may have.
        """
        return {
            f"envoy.resource_limits.listener.{listener}.connection_limit": str(self.for_one_pod)
            for listener in pod_listener_names(pod)
        }


def count_node_workers(cores: int) -> int:
    return _WORKERS_FOR_A_CORE * cores
