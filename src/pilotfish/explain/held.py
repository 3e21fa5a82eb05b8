"""What one Envoy holds, by name: as it is sent it (`of_resources`, `of_lookup`), or as it says of itself.

    ResourceSet ───of_resources─┐
    Lookup ───────of_lookup─────┤
    /config_dump ─────of_dump───┼─▶ Held: listeners by place; routes, clusters, endpoints by name
    its admin port ───of_asked──┘

Only what a way needs is asked for and parsed: of a route configuration's virtual hosts, the one that is chosen.

Sources: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/admin/v3/config_dump.proto
and https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/admin/v3/clusters.proto
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import SocketAddress
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.envoy.values import Resource, ResourceSet
from pilotfish.explain.extensions import known
from pilotfish.explain.old_dumps import upgrade
from pilotfish.model.addresses import host_port
from pilotfish.model.wellknown import OUTBOUND_PORT

if TYPE_CHECKING:
    from pilotfish.envoy.lookup import Lookup

M = TypeVar("M", bound=Message)
Json = dict[str, Any]
Place = tuple[str, int, str]
"""Of a listener of TCP: address, port, and the file of its network namespace where that is another than Envoy's."""
Places = Mapping[Place, str]
"""The names of the listeners that are there."""
Ills = Mapping[str, tuple[str, ...]]
"""By `IP:PORT`: why an endpoint gets no requests, in Envoy's words (`failed_outlier_check` …)."""
DescribeSubset = Callable[[str, str], str]
"""By (a DestinationRule's path, the name of a subset): `version=v3`; "" where nobody knows."""

SECTIONS: Final = {
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
"""Where a dump keeps what is in force of each type: lists, and the way to it in each entry."""


Member = tuple[LocalityLbEndpoints, LbEndpoint]


class Source(Protocol):
    """Where a Held looks things up; it asks for each once."""

    def name_at(self, place: Place) -> str | None:
        """Of the listener that has it."""
        ...

    def names_at(self, address: str, port: int) -> tuple[str, ...]:
        """Of all that have it, in whatever network namespace."""
        ...

    def has_listeners(self) -> bool: ...

    def find(self, type_url: str, name: str, message: M) -> M | None:
        """`message`, filled. Of a route configuration's virtual hosts name and domains are enough."""
        ...

    def virtual_host(self, config: str, host: VirtualHost) -> VirtualHost:
        """All of it."""
        ...

    def ills(self, cluster: str) -> Ills: ...


def _nobody_knows(config: str, subset: str) -> str:
    return ""


class Held:
    """Not for several threads."""

    def __init__(
        self, source: Source, describe_subset: DescribeSubset = _nobody_knows, knows_endpoints: bool = True
    ) -> None:
        self._source = source
        self.describe_subset = describe_subset
        self._knows_endpoints = knows_endpoints
        self._parsed: dict[tuple[str, str], Message | None] = {}
        self._ills: dict[str, Ills] = {}

    @classmethod
    def of_resources(cls, resources: ResourceSet, describe_subset: DescribeSubset = _nobody_knows) -> Held:
        listeners = tuple(resources.resources(LISTENER))
        return cls(_Made(resources.get, lambda address, port: listeners), describe_subset)

    @classmethod
    def of_lookup(cls, lookup: Lookup, describe_subset: DescribeSubset = _nobody_knows) -> Held:
        """As a proxy would be sent it."""
        return cls(_Made(lookup.find, lookup.listeners_at), describe_subset)

    @classmethod
    def of_dump(cls, dump: Json, clusters: Json | None = None, describe_subset: DescribeSubset = _nobody_knows) -> Held:
        """`dump`: /config_dump?include_eds. `clusters`: /clusters?format=json, for the endpoints' health."""
        by_name = {type_url: dict(named(dump, type_url)) for type_url in SECTIONS}
        if not by_name[ENDPOINT]:
            by_name[ENDPOINT] = dict(_assignments(clusters or {}))
        ills: dict[str, dict[str, tuple[str, ...]]] = {}
        for cluster, place, found in _ills(clusters or {}):
            ills.setdefault(cluster, {})[place] = found
        source = _Asked(
            lambda: dict(_places_of(by_name[LISTENER])),
            lambda type_url, name: upgrade(by_name[type_url].get(name)),
            lambda cluster: ills.get(cluster, {}),
        )
        return cls(source, describe_subset, bool(by_name[ENDPOINT]) or clusters is not None)

    @classmethod
    def of_asked(
        cls,
        listeners: Callable[[], Json],
        find: Callable[[str, str], Json],
        clusters: Callable[[str], Json],
        describe_subset: DescribeSubset = _nobody_knows,
    ) -> Held:
        """`listeners`: /listeners?format=json. `find`: of a type and a name, a part of /config_dump that has it.
        `clusters`: of a name, a part of /clusters?format=json."""
        source = _Asked(
            lambda: dict(_places_told(listeners())),
            lambda type_url, name: dict(_entries(find(type_url, name), type_url)).get(name),
            lambda cluster: {place: found for name, place, found in _ills(clusters(cluster)) if name == cluster},
        )
        return cls(source, describe_subset)

    @property
    def has_listeners(self) -> bool:
        return self._source.has_listeners()

    def listener(self, address: str, port: int, netns: str = "") -> Listener | None:
        """`netns`: the file of the network namespace that it is bound in, where that is another than Envoy's."""
        name = self._source.name_at((address, port, netns))
        return self._find(LISTENER, name, Listener) if name is not None else None

    def listeners_at(self, address: str, port: int) -> tuple[Listener, ...]:
        """All that have it, in whatever network namespace: Envoy makes no difference when it hands a connection on."""
        found = (self._find(LISTENER, name, Listener) for name in self._source.names_at(address, port))
        return tuple(each for each in found if each is not None)

    def route(self, name: str) -> RouteConfiguration | None:
        """With the names and domains of its virtual hosts at least."""
        return self._find(ROUTE, name, RouteConfiguration)

    def virtual_host(self, config: str, host: VirtualHost) -> VirtualHost:
        """All of one of the configuration's."""
        return self._source.virtual_host(config, host)

    def cluster(self, name: str) -> Cluster | None:
        return self._find(CLUSTER, name, Cluster)

    def assignment(self, cluster: Cluster) -> ClusterLoadAssignment | None:
        """Its endpoints; none at all where it has been told of none. None where nobody knows: a dump has no endpoints
        unless it was asked for them."""
        if cluster.type != Cluster.EDS:
            return cluster.load_assignment
        if not self._knows_endpoints:
            return None
        name = cluster.eds_cluster_config.service_name or cluster.name
        return self._find(ENDPOINT, name, ClusterLoadAssignment) or ClusterLoadAssignment()

    def endpoints_of(self, name: str) -> tuple[Member, ...]:
        """Of a load assignment, with the locality of each; none where there is no such assignment."""
        found = self._find(ENDPOINT, name, ClusterLoadAssignment) or ClusterLoadAssignment()
        return tuple((group, each) for group in found.endpoints for each in group.lb_endpoints)

    def ills(self, cluster: Cluster) -> Ills:
        """What Envoy itself has found out about its endpoints, where it looks."""
        if not (cluster.HasField("outlier_detection") or cluster.health_checks):
            return {}
        if cluster.name not in self._ills:
            self._ills[cluster.name] = self._source.ills(cluster.name)
        return self._ills[cluster.name]

    def _find(self, type_url: str, name: str, kind: type[M]) -> M | None:
        key = (type_url, name)
        if key not in self._parsed:
            self._parsed[key] = self._source.find(type_url, name, kind())
        found = self._parsed[key]
        return found if isinstance(found, kind) else None


class _Made:
    """Resources as discovery makes them."""

    def __init__(
        self, find: Callable[[str, str], Resource | None], listeners_at: Callable[[str, int], Iterable[Resource]]
    ) -> None:
        """`listeners_at`: those that may have a place."""
        self._find = find
        self._listeners_at = listeners_at
        self._places: dict[Place, str] = {}
        self._read: set[str] = set()

    def name_at(self, place: Place) -> str | None:
        if place not in self._places:
            self._look_at(*place[:2])
        return self._places.get(place)

    def names_at(self, address: str, port: int) -> tuple[str, ...]:
        self._look_at(address, port)
        return _names_at(self._places, address, port)

    def _look_at(self, address: str, port: int) -> None:
        for resource in self._listeners_at(address, port):
            if resource.name not in self._read:
                self._read.add(resource.name)
                self._places.update((each, resource.name) for each in _places_in(resource))

    def has_listeners(self) -> bool:
        return any(True for _ in self._listeners_at("0.0.0.0", OUTBOUND_PORT))

    def find(self, type_url: str, name: str, message: M) -> M | None:
        found = self._find(type_url, name)
        if found is None:
            return None
        message.ParseFromString(found.body)
        return message

    def virtual_host(self, config: str, host: VirtualHost) -> VirtualHost:
        return host

    def ills(self, cluster: str) -> Ills:
        return {}


class _Asked:
    """Entries of a config dump."""

    def __init__(
        self, places: Callable[[], Places], entry: Callable[[str, str], Json | None], ills: Callable[[str], Ills]
    ) -> None:
        self._listed = places
        self.ills = ills
        self._entry = entry
        self._hosts: dict[tuple[str, str], Json] = {}

    @cached_property
    def _places(self) -> Places:
        return self._listed()

    def name_at(self, place: Place) -> str | None:
        return self._places.get(place)

    def names_at(self, address: str, port: int) -> tuple[str, ...]:
        return _names_at(self._places, address, port)

    def has_listeners(self) -> bool:
        return bool(self._places)

    def find(self, type_url: str, name: str, message: M) -> M | None:
        found: Json | None = self._entry(type_url, name)
        if found is None:
            return None
        if not isinstance(message, RouteConfiguration):
            return _parse(found, message)
        hosts = found.get("virtual_hosts", ())
        self._hosts |= {(name, host.get("name", "")): host for host in hosts}
        _parse({key: value for key, value in found.items() if key != "virtual_hosts"}, message)
        for host in hosts:
            message.virtual_hosts.add(name=host.get("name", ""), domains=host.get("domains", ()))
        return message

    def virtual_host(self, config: str, host: VirtualHost) -> VirtualHost:
        return _parse(self._hosts[config, host.name], VirtualHost())


def _names_at(places: Places, address: str, port: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for place, name in places.items() if place[:2] == (address, port)))


def _places_in(listener: Resource) -> Iterator[Place]:
    message = Listener.FromString(listener.body)
    for each in (message.address, *(more.address for more in message.additional_addresses)):
        at = each.socket_address
        if each.HasField("socket_address") and at.protocol == SocketAddress.TCP:
            yield at.address, at.port_value, at.network_namespace_filepath


def _parse(found: Json, message: M) -> M:
    return ParseDict(known(found), message, ignore_unknown_fields=True)


def named(dump: Json, type_url: str) -> Iterator[tuple[str, Json]]:
    """What is in force of a type, by name."""
    for config in dump.get("configs", ()):
        for key, path in SECTIONS[type_url]:
            yield from _within(config.get(key, ()), path)


def _entries(part: Json, type_url: str) -> Iterator[tuple[str, Json]]:
    """Of what `resource=` selects: entries without the list that they were in."""
    for _, path in SECTIONS[type_url]:
        yield from _within(part.get("configs", ()), path)


def _within(entries: Iterable[Json], path: tuple[str, ...]) -> Iterator[tuple[str, Json]]:
    for entry in entries:
        for part in path:
            entry = entry.get(part) or {}
        if entry:
            yield entry.get("name") or entry.get("cluster_name", ""), entry


def _places_of(listeners: Mapping[str, Json]) -> Iterator[tuple[Place, str]]:
    for name, listener in listeners.items():
        more = (each.get("address", {}) for each in listener.get("additional_addresses", ()))
        for at in (listener.get("address", {}), *more):
            if _is_tcp(at):
                yield _place(at), name


def _places_told(statuses: Json) -> Iterator[tuple[Place, str]]:
    for status in statuses.get("listener_statuses", ()):
        for at in (status.get("local_address", {}), *status.get("additional_local_addresses", ())):
            if _is_tcp(at):
                yield _place(at), status.get("name", "")


def _is_tcp(address: Json) -> bool:
    return "socket_address" in address and address["socket_address"].get("protocol", "TCP") == "TCP"


def _place(address: Json) -> Place:
    at = address["socket_address"]
    return at.get("address", ""), at.get("port_value", 0), at.get("network_namespace_filepath", "")


def _assignments(clusters: Json) -> Iterator[tuple[str, Json]]:
    """The endpoints that the clusters have, where the dump does not say them."""
    for cluster in clusters.get("cluster_statuses", ()):
        name, groups = cluster.get("name", ""), list(map(_group, cluster.get("host_statuses", ())))
        yield name, {"cluster_name": name, "endpoints": groups}


def _group(host: Json) -> Json:
    member = {"endpoint": {"address": host.get("address", {})}, "load_balancing_weight": host.get("weight", 1)}
    member |= {"health_status": host.get("health_status", {}).get("eds_health_status", "UNKNOWN")}
    priority, locality = host.get("priority", 0), host.get("locality", {})
    return {"lb_endpoints": [member], "priority": priority, "locality": locality}


def _ills(clusters: Json) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(cluster, `IP:PORT`, why it gets no requests)."""
    for cluster in clusters.get("cluster_statuses", ()):
        for host in cluster.get("host_statuses", ()):
            said = host.get("health_status", {})
            ills = tuple(word for word, found in said.items() if found is True)
            if ills and "socket_address" in host.get("address", {}):
                yield cluster.get("name", ""), host_port(*_place(host["address"])[:2]), ills
