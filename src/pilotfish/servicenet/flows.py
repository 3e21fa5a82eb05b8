"""UDP flows that would stay with an endpoint that is none any more.

The kernel translates a flow as its first packet was, for as long as packets keep coming: a client that goes on sending
from one port would never be given another endpoint. (A TCP connection ends with its endpoint; one that is being drained
is to go on.) Source: kube-proxy does the same (pkg/proxy/conntrack).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pilotfish.model.frontend import Frontends


@dataclass(frozen=True, slots=True)
class Flow:
    """Those of all clients of one Service's address that were given one endpoint."""

    address: str
    port: int
    endpoint: tuple[str, int]


def stale_flows(before: Frontends, after: Frontends) -> frozenset[Flow]:
    return frozenset(_flows(before, after))


def _flows(before: Frontends, after: Frontends) -> Iterator[Flow]:
    for name, old in before.items():
        new = after.get(name)
        if old.transport != "UDP" or new is old:
            continue
        for address in old.addresses:
            kept = new.endpoints if new is not None and address in new.addresses else ()
            for endpoint in old.endpoints:
                if endpoint not in kept:
                    yield Flow(address, old.port, endpoint)
