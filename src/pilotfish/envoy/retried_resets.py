"""Retries of what a server's proxy would have answered 503, where it does not read requests.

Of an app that is gone, or goes while it is asked, the proxy beside it tells with 503; where that passes connections on,
they end. A route that retries 503 means both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pilotfish.derive import Reads
from pilotfish.mesh.registry.visibility import home
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.security.reading import needs_no_reading
from pilotfish.model.route import Backend, Forward, HTTPRoute

_RESET: Final = "reset"
_UNAVAILABLE: Final = 503


def with_resets(db: Reads, client: Scope, route: HTTPRoute) -> HTTPRoute:
    """`client`: which services it sees."""
    action = route.action
    if not isinstance(action, Forward) or action.retries is None or _UNAVAILABLE not in action.retries.codes:
        return route
    if _RESET in action.retries.conditions or not any(_is_passed_on(db, client, w.backend) for w in action.backends):
        return route
    retries = replace(action.retries, conditions=(*action.retries.conditions, _RESET))
    return replace(route, action=replace(action, retries=retries))


def _is_passed_on(db: Reads, client: Scope, backend: Backend) -> bool:
    at = home(db, client, backend.host) if backend.invalid is None else None
    return at is not None and needs_no_reading(db, backend.host, at, backend.port)
