"""Retry policies of a route.

Source: https://istio.io/latest/docs/concepts/traffic-management/#retries
"""

from __future__ import annotations

from typing import Final

from envoy.config.route.v3.route_components_pb2 import RetryPolicy
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate

from pilotfish.config import istio
from pilotfish.envoy.message import duration, pack

DEFAULT_ATTEMPTS: Final = 2
DEFAULT_RETRY_ON: Final = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"

_PREVIOUS_HOSTS: Final = RetryPolicy.RetryHostPredicate(
    name="envoy.retry_host_predicates.previous_hosts", typed_config=pack(PreviousHostsPredicate())
)


def build_retry_policy(source: istio.HTTPRetry | None = None) -> RetryPolicy | None:
    """Istio's default policy where nothing is asked; None where retries are switched off (`attempts: 0`)."""
    if source is not None and source.attempts <= 0:
        return None
    conditions, codes = _conditions(source.retry_on if source is not None else "")
    policy = RetryPolicy(
        retry_on=conditions,
        retriable_status_codes=codes,
        # Another endpoint than those already tried; after five draws any will do.
        retry_host_predicate=[_PREVIOUS_HOSTS],
        host_selection_retry_max_attempts=5,
    )
    policy.num_retries.value = source.attempts if source is not None else DEFAULT_ATTEMPTS
    if source is not None and source.per_try_timeout is not None:
        policy.per_try_timeout.CopyFrom(duration(source.per_try_timeout))
    return policy


def build_inbound_retry_policy() -> RetryPolicy:
    """Only what certainly has not reached the app: a connection that it had closed while idle."""
    policy = RetryPolicy(retry_on="reset-before-request")
    policy.num_retries.value = DEFAULT_ATTEMPTS
    return policy


def _conditions(retry_on: str) -> tuple[str, list[int]]:
    """Envoy's conditions, and the status codes that Istio lets stand among them."""
    parts = [part.strip() for part in (retry_on or DEFAULT_RETRY_ON).split(",") if part.strip()]
    codes = [int(part) for part in parts if part.isdecimal()]
    named = [part for part in parts if not part.isdecimal()]
    if codes and "retriable-status-codes" not in named:
        named.append("retriable-status-codes")
    return ",".join(named), codes
