"""One call's way through one proxy: listener, filter chain, virtual host, route, clusters. Pure, on what the proxy is
sent; nothing is asked of a running one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

from pilotfish.envoy.types import ROUTE
from pilotfish.envoy.values import ResourceSet
from pilotfish.explain.call import Application, Call, Failure, Way
from pilotfish.explain.listeners import find_chain, find_listener
from pilotfish.explain.routes import Verdict, find_route, find_virtual_host


def find_way(resources: ResourceSet, call: Call) -> Way:
    listener = find_listener(resources, call)
    if listener is None:
        return Way(failure=Failure.NO_LISTENER)
    way = Way(listener.name)
    chain = find_chain(listener, call)
    if isinstance(chain, Failure):
        return replace(way, failure=chain)
    way = replace(way, filter_chain=chain.name)
    terminates = chain.HasField("transport_socket")
    if terminates and call.tls is None:
        return replace(way, failure=Failure.TLS)
    config = chain.filters[-1].typed_config
    if config.Is(TcpProxy.DESCRIPTOR):
        return replace(way, clusters=_clusters(TcpProxy.FromString(config.value)))
    if not config.Is(HttpConnectionManager.DESCRIPTOR):
        return replace(way, failure=Failure.UNKNOWN)
    if call.application is Application.TCP or (call.tls is not None and not terminates):
        return replace(way, failure=Failure.PROTOCOL)
    return _follow(resources, HttpConnectionManager.FromString(config.value), way, call)


def _follow(resources: ResourceSet, manager: HttpConnectionManager, way: Way, call: Call) -> Way:
    config = manager.route_config
    if manager.HasField("rds"):
        found = resources.get(ROUTE, manager.rds.route_config_name)
        config = RouteConfiguration.FromString(found.body) if found is not None else RouteConfiguration()
        way = replace(way, route_config=manager.rds.route_config_name)
    elif not manager.HasField("route_config"):
        return replace(way, failure=Failure.UNKNOWN)
    host = find_virtual_host(config, call.request)
    if host is None:
        return replace(way, failure=Failure.NO_VIRTUAL_HOST)
    way = replace(way, virtual_host=host.name)
    if host.require_tls == VirtualHost.ALL and call.tls is None:
        return replace(way, failure=Failure.TLS_REQUIRED)
    route = find_route(host, call.request)
    if isinstance(route, Verdict):
        return replace(way, failure=Failure.NO_ROUTE if route is Verdict.NO else Failure.UNKNOWN)
    return replace(way, route=route.name, clusters=_routed(route))


def _routed(route: Route) -> tuple[tuple[str, int], ...]:
    return _clusters(route.route) if route.HasField("route") else ()


def _clusters(action: Any) -> tuple[tuple[str, int], ...]:
    """Of a TcpProxy, or of a route's action."""
    if action.cluster:
        return ((action.cluster, 1),)
    return tuple((each.name, _weight(each)) for each in action.weighted_clusters.clusters)


def _weight(cluster: Any) -> int:
    """A route's is wrapped, a TcpProxy's is not."""
    weight = cluster.weight
    return weight if isinstance(weight, int) else weight.value
