"""Which resource types must go before which: make before break.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#eventual-consistency-considerations
"""

from __future__ import annotations

from typing import Final

from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ORDER, ROUTE

WHOLE: Final = frozenset({CLUSTER, LISTENER})
"""The types whose first request may name nothing, and so ask for everything ("Wildcard subscriptions"). Their state of
the world responses hold everything, and Envoy applies the good ones of a response in which it refuses others."""

WAITS_FOR: Final[dict[str, tuple[str, ...]]] = {LISTENER: (CLUSTER,), ROUTE: (CLUSTER, LISTENER)}
"""What must have been sent before a type's additions and changes. Endpoints wait for nothing: Envoy holds back its ACK
of new clusters until these are warm (cluster_manager_impl.cc, `updateClusterCounts`), which takes their endpoints."""

REMOVED_AFTER: Final[dict[str, tuple[str, ...]]] = {
    CLUSTER: (LISTENER, ROUTE),
    ENDPOINT: (CLUSTER, LISTENER, ROUTE),
    ROUTE: (LISTENER,),
}
"""What must be settled, that is sent and acknowledged, before a type's resources are taken away."""

_SHORT: Final = {CLUSTER: "cds", ENDPOINT: "eds", LISTENER: "lds", ROUTE: "rds"}


def rank(type_url: str) -> int:
    """Where a type stands in the order in which one update goes out; types that discovery does not serve go last."""
    return ORDER.index(type_url) if type_url in ORDER else len(ORDER)


def short(type_url: str) -> str:
    """`cds`, `eds`, `lds`, `rds`; the message's own name for any other type."""
    return _SHORT.get(type_url) or type_url.rpartition(".")[2].lower()
