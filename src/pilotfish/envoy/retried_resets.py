"""Retries of what a server's proxy would have answered, where it does not read requests.

Of an app that is gone, or goes while it is asked, the proxy beside it tells with 503, and to gRPC with UNAVAILABLE;
where that passes connections on, they end. A route that retries these means both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pilotfish.derive import Reads
from pilotfish.mesh.registry.services import service_at
from pilotfish.mesh.registry.visibility import home
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.security.reading import needs_no_reading
from pilotfish.model.route import Backend, Forward, HTTPRoute, Retries

_RESET: Final = "reset"
_UNAVAILABLE: Final = 503
_OF_GRPC: Final = "unavailable"


def with_resets(db: Reads, client: Scope, route: HTTPRoute) -> HTTPRoute:
    """`client`: which services it sees."""
    action = route.action
    if not isinstance(action, Forward) or action.retries is None or _RESET in action.retries.conditions:
        return route
    if not any(_means_both(db, client, action.retries, weighted.backend) for weighted in action.backends):
        return route
    retries = replace(action.retries, conditions=(*action.retries.conditions, _RESET))
    return replace(route, action=replace(action, retries=retries))


def _means_both(db: Reads, client: Scope, retries: Retries, backend: Backend) -> bool:
    is_asked = _UNAVAILABLE in retries.codes or _OF_GRPC in retries.conditions
    at = home(db, client, backend.host) if is_asked and backend.invalid is None else None
    found = service_at(db, backend.host, at) if at is not None else None
    served = found.port(backend.port) if found is not None else None
    if at is None or served is None or not (_UNAVAILABLE in retries.codes or served.protocol.is_grpc):
        return False
    return needs_no_reading(db, backend.host, at, backend.port)
