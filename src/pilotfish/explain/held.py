"""What one Envoy holds, by name: as it is sent it (`of_resources`), or as it says of itself (`of_dump`).

    ResourceSet ───of_resources─┐
                                ├─▶ Held: listeners by place; routes, clusters, endpoints by name
    /config_dump ─────of_dump───┘

Sources: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/admin/v3/config_dump.proto
and https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/admin/v3/clusters.proto
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property
from typing import Any, Final, TypeVar

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import SocketAddress
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf import descriptor_pool
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.envoy.values import ResourceSet
from pilotfish.explain.old_dumps import upgrade

M = TypeVar("M", bound=Message)
Json = dict[str, Any]
Health = Mapping[tuple[str, str], tuple[str, ...]]
"""By (cluster, `IP:PORT`): why an endpoint gets no requests, in Envoy's words (`failed_outlier_check` …)."""
DescribeSubset = Callable[[str, str], str]
"""By (a DestinationRule's path, the name of a subset): `version=v3`; "" where nobody knows."""
_Find = Callable[[str, str, type[Message]], Message | None]

_SECTIONS: Final = {
    LISTENER: (
        ("dynamic_listeners", ("active_state", "listener")),
        ("dynamic_active_listeners", ("listener",)),  # API v2
        ("static_listeners", ("listener",)),
    ),
    ROUTE: (("dynamic_route_configs", ("route_config",)), ("static_route_configs", ("route_config",))),
    CLUSTER: (("dynamic_active_clusters", ("cluster",)), ("static_clusters", ("cluster",))),
    ENDPOINT: (
        ("dynamic_endpoint_configs", ("endpoint_config",)),
        ("static_endpoint_configs", ("endpoint_config",)),
    ),
}
"""Where a dump keeps what is in force of each type."""


def _nobody_knows(config: str, subset: str) -> str:
    return ""


class Held:
    """Messages are parsed when they are first asked for. Not for several threads."""

    def __init__(
        self,
        listeners: Callable[[], Iterable[Listener]],
        find: _Find,
        health: Health,
        describe_subset: DescribeSubset,
        knows_endpoints: bool = True,
    ) -> None:
        self._listeners = listeners
        self._find = find
        self.health = health
        self.describe_subset = describe_subset
        self._knows_endpoints = knows_endpoints
        self._parsed: dict[tuple[str, str], Message | None] = {}

    @classmethod
    def of_resources(cls, resources: ResourceSet, describe_subset: DescribeSubset = _nobody_knows) -> Held:
        def find(type_url: str, name: str, kind: type[Message]) -> Message | None:
            found = resources.get(type_url, name)
            return kind.FromString(found.body) if found is not None else None

        def listeners() -> Iterator[Listener]:
            return (Listener.FromString(resource.body) for resource in resources.resources(LISTENER))

        return cls(listeners, find, {}, describe_subset)

    @classmethod
    def of_dump(cls, dump: Json, clusters: Json | None = None, describe_subset: DescribeSubset = _nobody_knows) -> Held:
        """`dump`: /config_dump?include_eds. `clusters`: /clusters?format=json, for the endpoints' health."""
        by_name = {type_url: dict(_named(dump, type_url)) for type_url in _SECTIONS}
        if not by_name[ENDPOINT]:
            by_name[ENDPOINT] = dict(_assignments(clusters or {}))

        def find(type_url: str, name: str, kind: type[Message]) -> Message | None:
            found = by_name[type_url].get(name)
            return _parse(found, kind()) if found is not None else None

        def listeners() -> Iterator[Listener]:
            kept = by_name[LISTENER].values()
            return (_parse(each, Listener()) for each in kept)

        knows_endpoints = bool(by_name[ENDPOINT]) or clusters is not None
        return cls(listeners, find, dict(_ills(clusters or {})), describe_subset, knows_endpoints)

    @cached_property
    def places(self) -> Mapping[tuple[str, int], Listener]:
        """Those of TCP, by address and port."""
        return {
            (at.socket_address.address, at.socket_address.port_value): listener
            for listener in self._listeners()
            for at in (listener.address, *(more.address for more in listener.additional_addresses))
            if at.HasField("socket_address") and at.socket_address.protocol == SocketAddress.TCP
        }

    def route(self, name: str) -> RouteConfiguration | None:
        return self._parse(ROUTE, name, RouteConfiguration)

    def cluster(self, name: str) -> Cluster | None:
        return self._parse(CLUSTER, name, Cluster)

    def assignment(self, cluster: Cluster) -> ClusterLoadAssignment | None:
        """Its endpoints; none at all where it has been told of none. None where nobody knows: a dump has no endpoints
        unless it was asked for them."""
        if cluster.type != Cluster.EDS:
            return cluster.load_assignment
        if not self._knows_endpoints:
            return None
        name = cluster.eds_cluster_config.service_name or cluster.name
        return self._parse(ENDPOINT, name, ClusterLoadAssignment) or ClusterLoadAssignment()

    def _parse(self, type_url: str, name: str, kind: type[M]) -> M | None:
        key = (type_url, name)
        if key not in self._parsed:
            self._parsed[key] = self._find(type_url, name, kind)
        found = self._parsed[key]
        return found if isinstance(found, kind) else None


def _parse(found: Json, message: M) -> M:
    """What is of a type that is not known here becomes empty: the name beside it remains."""
    return ParseDict(_known(upgrade(found)), message, ignore_unknown_fields=True)


def _known(value: Any) -> Any:
    if isinstance(value, list):
        return [_known(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "@type" in value and not _is_known(value["@type"].rpartition("/")[2]):
        return {"@type": "type.googleapis.com/google.protobuf.Empty", "value": {}}
    return {key: _known(each) for key, each in value.items()}


@cache
def _is_known(name: str) -> bool:
    try:
        descriptor_pool.Default().FindMessageTypeByName(name)
    except KeyError:
        return False
    return True


def _named(dump: Json, type_url: str) -> Iterator[tuple[str, Json]]:
    for config in dump.get("configs", ()):
        for key, path in _SECTIONS[type_url]:
            for entry in config.get(key, ()):
                for part in path:
                    entry = entry.get(part) or {}
                if entry:
                    yield entry.get("name") or entry.get("cluster_name", ""), entry


def _assignments(clusters: Json) -> Iterator[tuple[str, Json]]:
    """The endpoints that the clusters have, where the dump does not say them."""
    for cluster in clusters.get("cluster_statuses", ()):
        name, groups = cluster.get("name", ""), list(map(_group, cluster.get("host_statuses", ())))
        yield name, {"cluster_name": name, "endpoints": groups}


def _group(host: Json) -> Json:
    member = {"endpoint": {"address": host.get("address", {})}, "load_balancing_weight": host.get("weight", 1)}
    priority, locality = host.get("priority", 0), host.get("locality", {})
    return {"lb_endpoints": [member], "priority": priority, "locality": locality}


def _ills(clusters: Json) -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    for cluster in clusters.get("cluster_statuses", ()):
        for host in cluster.get("host_statuses", ()):
            at = host.get("address", {}).get("socket_address", {})
            said = host.get("health_status", {})
            ills = tuple(word for word, found in said.items() if found is True)
            if said.get("eds_health_status") in ("UNHEALTHY", "DRAINING", "TIMEOUT"):
                ills = (*ills, f"eds_health_status {said['eds_health_status']}")
            if ills and at:
                address, port = at.get("address", ""), at.get("port_value", 0)
                place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
                yield (cluster.get("name", ""), place), ills
