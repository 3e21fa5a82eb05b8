"""How often a request is tried, in neutral form.

Source: https://istio.io/latest/docs/concepts/traffic-management/#retries
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import mesh_config
from pilotfish.model.route import Retries, Timeouts

DEFAULT_RETRIES: Final = Retries(
    attempts=2,
    conditions=("connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"),
)
"""Istio's, for a route that asks for nothing: what has not reached the app, or what the app asks to be retried."""


_INBOUND: Final = Retries(attempts=2, conditions=("reset-before-request",), elsewhere=False)
"""What certainly has not reached the app: over a connection that it had closed while idle."""


@query
def inbound_retries(db: Reads) -> tuple[Retries | None, Timeouts]:
    """From a sidecar to its app, of which there is one."""
    stated = mesh_config(db).default_inbound_http_retry_policy
    found = lower_retries(stated, _INBOUND)
    again = replace(found, elsewhere=False, other_localities=False) if found is not None else None
    return again, lower_try(stated)


def lower_retries(source: istio.HTTPRetry | None, default: Retries = DEFAULT_RETRIES) -> Retries | None:
    """None where retries are switched off (`attempts: 0`)."""
    if source is None:
        return default
    if source.attempts <= 0:
        return None
    words = tuple(word.strip() for word in source.retry_on.split(",") if word.strip())
    codes = tuple(int(word) for word in words if word.isdecimal())
    conditions = tuple(word for word in words if not word.isdecimal())
    return Retries(
        attempts=source.attempts,
        conditions=conditions if source.retry_on else default.conditions,
        codes=codes,
        elsewhere=source.retry_ignore_previous_hosts,
        other_localities=bool(source.retry_remote_localities),
        backoff=source.backoff,
    )


def lower_try(source: istio.HTTPRetry | None) -> Timeouts:
    """How long one try may take, of a route without a time-out of its own; 0 is for ever."""
    each = source.per_try_timeout if source is not None and source.attempts > 0 else None
    return Timeouts(backend_request=each if each is not None and each.nanos else None)
