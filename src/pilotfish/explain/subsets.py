"""Why a cluster has no endpoint, and which endpoints of its service a subset leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster

from pilotfish.envoy.naming import BLACK_HOLE, outbound_cluster, usual_name
from pilotfish.explain.endpoints import find_endpoints
from pilotfish.explain.held import Held
from pilotfish.explain.trace import Rejected
from pilotfish.explain.written import written

_PARTS: Final = 4


def outside_of_subset(held: Held, cluster: Cluster) -> Iterator[Rejected]:
    """The service's endpoints that are not the cluster's."""
    _, port, subset, host = _parts(cluster.name)
    whole = held.cluster(outbound_cluster(int(port), "", host)) if subset else None
    if whole is None:
        return
    own = {str(each) for each in find_endpoints(held, cluster).chosen}
    asked = _asked(held, cluster, subset)
    for each in find_endpoints(held, whole).chosen:
        if str(each) not in own:
            yield Rejected(str(each), f"it is not of the subset {subset}{f', which is {asked}' if asked else ''}")


def why_empty(held: Held, cluster: Cluster, is_routed: bool) -> str:
    """`is_routed`: somebody wrote where it goes."""
    _, port, subset, host = _parts(cluster.name)
    if cluster.name == BLACK_HOLE and is_routed:
        return "the mesh has no such destination: its host, port or subset is nowhere"
    if not host:
        return f"{cluster.name} has no endpoint that may be used"
    whole = held.cluster(outbound_cluster(int(port), "", host)) if subset else None
    host = usual_name(host)
    if whole is not None and find_endpoints(held, whole).chosen:
        asked = _asked(held, cluster, subset)
        return f"no ready pod of {host} has {asked}" if asked else f"{host} has no ready pod of the subset {subset}"
    return f"{host} has no ready pod"


def _asked(held: Held, cluster: Cluster, subset: str) -> str:
    return held.describe_subset(written(cluster).config, subset)


def _parts(name: str) -> tuple[str, str, str, str]:
    """(outbound, port, subset, host); empty for a cluster of no service."""
    parts = name.split("|")
    if len(parts) != _PARTS or not parts[1].isdecimal():
        return "", "", "", ""
    direction, port, subset, host = parts
    return direction, port, subset, host
