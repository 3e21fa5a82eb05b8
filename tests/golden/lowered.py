"""The neutral form of a case's routes and policies, as plain values: what stands at its default is left out."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any

from envoy.config.route.v3.route_pb2 import RouteConfiguration

from pilotfish.derive import Graph, Reads, query
from pilotfish.envoy.types import ROUTE
from pilotfish.envoy.values import ResourceSet
from pilotfish.envoy.virtual_hosts import View, view
from pilotfish.mesh.gateways.hosts import gateway_hosts, route_names
from pilotfish.mesh.gateways.listeners import gateway_listener, listener_places
from pilotfish.mesh.gateways.selection import front_of
from pilotfish.mesh.listeners.outbound import binding_names
from pilotfish.mesh.policy.policies import policed, policy, rules_for, scope_of
from pilotfish.mesh.registry.services import all_hosts
from pilotfish.mesh.registry.visibility import visible
from pilotfish.mesh.routes.connections import connections
from pilotfish.mesh.routes.http_routes import http_routes
from pilotfish.mesh.routing import reader
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.security.guards import authentication, authorization, guard_of
from pilotfish.model import Duration, FieldRef, ObjectRef, Proxy
from pilotfish.model.authorization import NOTHING
from pilotfish.model.proxy import ProxyType


def lowered(graph: Graph, proxy: Proxy, found: ResourceSet) -> dict[str, Any]:
    """Of the hosts and listeners that somebody routes, and of the hosts that somebody has a policy for."""
    scope = scope_of(graph, proxy)
    known = graph.get(all_hosts)
    rules = {host: graph.get(rules_for, scope, host) for host in sorted(known)}
    at = _at_the_front(graph, proxy, scope) if proxy.type is ProxyType.ROUTER else _beside_an_app(graph, scope, found)
    parts = at | {"policies": {host: shown(graph.get(policy, by)) for host, by in rules.items() if by}}
    parts |= _guards(graph, proxy)
    return {name: part for name, part in parts.items() if part}


def _guards(graph: Graph, proxy: Proxy) -> dict[str, Any]:
    """What stands before the workload, for requests and for connections alone."""
    guard = guard_of(graph, proxy, scope_of(graph, proxy))
    both = {"requests": graph.get(authorization, guard, True), "connections": graph.get(authorization, guard, False)}
    return {
        "authorization": {name: shown(found) for name, found in both.items() if found != NOTHING},
        "authentication": shown(graph.get(authentication, guard)),
    }


def _at_the_front(graph: Graph, proxy: Proxy, scope: Scope) -> dict[str, Any]:
    """Of a gateway."""
    front = front_of(graph, proxy)
    listeners = (graph.get(gateway_listener, front, scope, *place) for place in graph.get(listener_places, front))
    names = graph.get(route_names, front)
    return {
        "listeners": {each.name: shown(each) for each in listeners if each is not None},
        "hosts": {name: shown(graph.get(gateway_hosts, front, scope, name)) for name in names},
    }


def _beside_an_app(graph: Graph, scope: Scope, found: ResourceSet) -> dict[str, Any]:
    client = graph.get(policed, scope)
    names = (h.name for r in found.resources(ROUTE) for h in RouteConfiguration.FromString(r.body).virtual_hosts)
    asked = ((name, name.rpartition(":")) for name in dict.fromkeys(names) if ":" in name)
    hosted = {name: (host, int(port), graph.get(_viewed, scope, host, int(port))) for name, (host, _, port) in asked}
    routed = {name: each for name, each in sorted(hosted.items()) if each[2].router is not None}
    taken = {name: graph.get(connections, client, name) for name in graph.get(binding_names, graph.get(visible, scope))}
    return {
        "routes": {
            name: shown(graph.get(http_routes, seen.router, seen.rules, seen.source, host, seen.home, port))
            for name, (host, port, seen) in routed.items()
        },
        "connections": {name: shown(each.routes) for name, each in taken.items() if any(r.ref for r in each.routes)},
    }


@query
def _viewed(db: Reads, scope: Scope, host: str, port: int) -> View:
    return view(db, scope, reader(db, scope, port), host)


def shown(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, ObjectRef | FieldRef | Duration):
        return str(value)
    if isinstance(value, tuple):
        return [shown(item) for item in value]
    if is_dataclass(value):
        given = ((f, getattr(value, f.name)) for f in fields(value))
        return {f.name: shown(v) for f, v in given if f.default is MISSING or v != f.default}
    return value
