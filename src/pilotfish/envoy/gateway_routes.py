"""RouteConfigurations of gateways: the hosts of one port, or of one HTTPS server."""

from __future__ import annotations

from typing import Final

from envoy.config.core.v3.base_pb2 import HeaderValue
from envoy.config.route.v3.route_components_pb2 import VirtualHost

from pilotfish.derive import Reads, query
from pilotfish.envoy.http_route import build_routes, clusters_of
from pilotfish.envoy.message import serialise
from pilotfish.envoy.proxy_headers import build_virtual_host
from pilotfish.envoy.retried_resets import with_resets
from pilotfish.envoy.routes import assemble
from pilotfish.envoy.values import Resource
from pilotfish.envoy.virtual_hosts import Fragment
from pilotfish.mesh.gateways.hosts import first_port, gateway_hosts
from pilotfish.mesh.gateways.selection import Front
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.settings import settings
from pilotfish.model.gateway import GatewayHost
from pilotfish.model.settings import Headers

_NOBODY: Final = "blackhole"


@query
def gateway_route(db: Reads, front: Front, scope: Scope, name: str) -> Resource:
    """What nobody routes is answered 404."""
    found = gateway_hosts(db, front, scope, name)
    headers = settings(db).headers
    fragments = tuple(_fragment(db, scope, each, headers) for each in found) or (_nobody(first_port(db, front, name)),)
    return assemble(db, name, fragments, b"", "")


def _fragment(db: Reads, scope: Scope, source: GatewayHost, headers: Headers) -> Fragment:
    host = source.host
    domains = (host,) if host.startswith("*") else (host, f"{host}.")
    routes = (with_resets(db, scope, route) for route in source.routes)
    built = (made for route in routes for made in build_routes(route, source.port))
    message = build_virtual_host(f"{host}:{source.port}", domains, built, headers)
    if source.needs_tls:
        message.require_tls = VirtualHost.ALL
    if source.http3:
        # For a day, as in Istio.
        told = HeaderValue(key="alt-svc", value=f'h3=":{source.port}"; ma=86400')
        message.response_headers_to_add.add(header=told)
    clusters = dict.fromkeys(name for route in source.routes for name in clusters_of(route))
    return Fragment(serialise(message), domains, tuple(clusters))


def _nobody(port: int) -> Fragment:
    """It has no routes."""
    return Fragment(serialise(VirtualHost(name=f"{_NOBODY}:{port}", domains=["*"])), ("*",), ())
