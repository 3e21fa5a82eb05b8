"""What who may read on the monitoring port, where all pods are among the objects.

Loopback and the operators' addresses read everything. A pod reads whether discovery is ready, its metrics, which name
no object, and what is about the pod itself: what its own agent asks.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from pilotfish.discovery.admission import plain_address
from pilotfish.discovery.plane import ControlPlane
from pilotfish.model.addresses import is_loopback

_FOR_ALL: Final = ("/ready", "/metrics")
_OF_REPLICAS: Final = "/api/replica"
_OF_ITSELF: Final = ("/api/names", "/api/configured", "/api/health", "/debug/config_dump", "/debug/edsz", "/debug/ndsz")
"""Pages that are about the proxy which `proxyID` names."""
_REFUSAL: Final = "a pod may read of itself alone here; ask as the machine's user, or on discovery's loopback\n"


def bounded(plane: ControlPlane, operators: tuple[str, ...]) -> Middleware:
    """`operators`: addresses that read everything."""
    trusted = frozenset(map(plain_address, operators))

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if (plane.door.only_pods or plane.door.in_cluster) and not _may_read(plane, trusted, request):
            raise web.HTTPForbidden(text=_REFUSAL)
        return await handler(request)

    return check


def _may_read(plane: ControlPlane, trusted: frozenset[str], request: web.Request) -> bool:
    host = plain_address(request.remote or "")
    if request.path in _FOR_ALL or host in trusted or is_loopback(host):
        return True
    if request.path == _OF_REPLICAS:
        return plane.is_discovery(host)
    return request.path in _OF_ITSELF and plane.is_at(request.query.get("proxyID", ""), host)
