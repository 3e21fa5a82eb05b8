"""Virtual hosts: the domains of one service on one port, and its routes.

Domains have no `:8888` forms, of which the seed shows one for each: `ignore_port_in_host_matching` makes every form
match with any port.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from envoy.config.route.v3.route_components_pb2 import Route, RouteAction, VirtualHost

from pilotfish.derive import Reads, query
from pilotfish.envoy.http_route import build_routes, clusters_of
from pilotfish.envoy.message import serialise
from pilotfish.envoy.proxy_headers import build_virtual_host
from pilotfish.envoy.retried_resets import with_resets
from pilotfish.envoy.timeouts import set_timeout
from pilotfish.envoy.unclaimed import unknown_host
from pilotfish.mesh.hosts import namespace_of
from pilotfish.mesh.policy.policies import Reach, reach, routed
from pilotfish.mesh.registry.external_names import other_names
from pilotfish.mesh.registry.services import service_at
from pilotfish.mesh.registry.visibility import home
from pilotfish.mesh.routes.http_routes import http_routes
from pilotfish.mesh.routing import ANYBODY, Reader, routed_hosts, router, source
from pilotfish.mesh.scope import EVERYONE, Scope
from pilotfish.mesh.settings import settings
from pilotfish.model import ObjectRef
from pilotfish.model.addresses import bracketed
from pilotfish.model.egress import Unclaimed
from pilotfish.model.service import Service
from pilotfish.model.settings import Headers
from pilotfish.model.wellknown import SERVICE_DOMAIN


@dataclass(frozen=True, slots=True)
class Fragment:
    """One virtual host, serialised."""

    body: bytes = field(repr=False)
    domains: tuple[str, ...]
    clusters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """By what a client changes a virtual host. Clients with equal views share it."""

    rules: Scope
    """Whose DestinationRules apply to destinations."""
    home: str | None = ""
    """Whose service of the host the client sees (`visibility.home`)."""
    namespace: str = ""
    """The client's, if it calls the service, or another name of it, by a name without a namespace; else ""."""
    router: ObjectRef | None = None
    """The VirtualService that routes the host for it."""
    source: Scope = EVERYONE
    """The client, as far as that tells it from others."""
    reader: Reader = ANYBODY
    """Who reads the VirtualServices that may route another name of the service."""


@query(index=True)
def view(db: Reads, scope: Scope, by: Reader, host: str) -> View:
    """`by`: as `routing.reader` says for the port."""
    at = home(db, scope, host)
    found = service_at(db, host, at) if at is not None else None
    others = other_names(db, host)
    named = {found.namespace} if found is not None else set()
    named |= {namespace_of(name) for name in others}
    namespace = scope.namespace if scope.namespace in named else ""
    ref, by_others = router(db, by, host), by if others else ANYBODY
    if ref is None:
        rules = routed(db, scope) if Reach.REQUESTS in reach(db) else EVERYONE
        return View(rules, at, namespace, reader=by_others)
    return View(routed(db, scope), at, namespace, ref, source(db, scope, ref), by_others)


class Domains(Enum):
    """By which a host's requests are told from others of its RouteConfiguration."""

    NAMES = auto()
    """Its names, whatever port they say."""
    NAMES_AND_PORT = auto()
    """Its names with the port, and without one where no other port of it comes first."""
    ALL = auto()
    """There is no other host."""


@query
def virtual_host(db: Reads, client: View, host: str, port: int, taken: tuple[str, ...], by: Domains) -> Fragment:
    """One host's virtual host on one port, as `view` says the client sees it.

    `taken` are domains that an older service has.
    """
    found = service_at(db, host, client.home) if client.home is not None else None
    routes = http_routes(db, client.router, client.rules, client.source, host, client.home, port)
    names = ("*",) if by is Domains.ALL else tuple(_domains(db, found, host, client))
    if by is Domains.NAMES_AND_PORT:
        names = (*names, *(f"{name}:{port}" for name in names if not name.endswith(".")))
    domains = tuple(name for name in names if name not in taken) if taken else names
    built = (made for route in routes for made in build_routes(with_resets(db, client.rules, route), port))
    message = build_virtual_host(f"{host}:{port}", domains, built, settings(db).headers)
    clusters = dict.fromkeys(name for route in routes for name in clusters_of(route))
    return Fragment(serialise(message), domains, tuple(clusters))


def build_fallback(unknown: Unclaimed, headers: Headers) -> VirtualHost:
    """For every host that no service has: let it pass as it came, send it to a proxy, or answer 502."""
    if not unknown.allow_any:
        route = Route(name="block_all")
        route.match.prefix = "/"
        route.direct_response.status = 502
        return build_virtual_host("block_all", ["*"], [route], headers)
    route = Route(name="allow_any", route=RouteAction(cluster=unknown_host(unknown)))
    route.match.prefix = "/"
    set_timeout(route.route)
    return build_virtual_host("allow_any", ["*"], [route], headers)


def _domains(db: Reads, found: Service | None, host: str, client: View) -> Iterator[str]:
    if found is None or not host.endswith(f".{found.namespace}.{SERVICE_DOMAIN}"):
        yield from [host] if host.startswith("*") else [host, f"{host}."]
    else:
        names = tuple(_spellings(host, client.namespace))
        yield from names
        # A pod of its own name: POD.SERVICE.NAMESPACE...
        yield from (f"*.{name}" for name in names if found.headless)
    own_routes = routed_hosts(db, client.reader) if (others := other_names(db, host)) else ()
    for other in others:
        # One that a VirtualService names as a whole has routes of its own.
        own = {other, f"{other}."} if other in own_routes else set()
        yield from (name for name in _spellings(other, client.namespace) if name not in own)
    if found is not None:
        yield from (bracketed(a) for a in found.addresses if "/" not in a)


def _spellings(host: str, namespace: str) -> Iterator[str]:
    """How clients of a namespace may write a Service's name."""
    name, _, rest = host.removesuffix(f".{SERVICE_DOMAIN}").partition(".")
    yield from (host, f"{host}.")
    if rest == namespace:
        yield name
    below = f"{name}.{rest}"
    yield from (f"{below}.{SERVICE_DOMAIN.removesuffix('.local')}", f"{below}.svc", below)
