"""Retry policies of a route."""

from __future__ import annotations

from typing import Final

from envoy.config.route.v3.route_components_pb2 import RetryPolicy
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2 import (
    PreviousPrioritiesConfig,
)

from pilotfish.envoy.message import duration, pack
from pilotfish.model.route import Retries, Timeouts

_CODES: Final = "retriable-status-codes"
_PREVIOUS_HOSTS: Final = RetryPolicy.RetryHostPredicate(
    name="envoy.retry_host_predicates.previous_hosts", typed_config=pack(PreviousHostsPredicate())
)
_PREVIOUS_PRIORITIES: Final = RetryPolicy.RetryPriority(
    name="envoy.retry_priorities.previous_priorities",
    # As Istio has it: two tries before the next priority has its turn.
    typed_config=pack(PreviousPrioritiesConfig(update_frequency=2)),
)


def build_retry_policy(retries: Retries | None, timeouts: Timeouts) -> RetryPolicy | None:
    """None where there is one try, as long as the request itself may take."""
    if retries is None and timeouts.backend_request is None:
        return None
    policy = RetryPolicy()
    policy.num_retries.value = 0
    if retries is not None:
        _set_retries(policy, retries)
    if timeouts.backend_request is not None:
        policy.per_try_timeout.CopyFrom(duration(timeouts.backend_request))
    return policy


def _set_retries(policy: RetryPolicy, retries: Retries) -> None:
    policy.num_retries.value = retries.attempts
    more = (_CODES,) if retries.codes and _CODES not in retries.conditions else ()
    policy.retry_on = ",".join((*retries.conditions, *more))
    policy.retriable_status_codes.extend(retries.codes)
    if retries.elsewhere:
        # After five draws any will do.
        policy.retry_host_predicate.append(_PREVIOUS_HOSTS)
        policy.host_selection_retry_max_attempts = 5
    if retries.other_localities:
        policy.retry_priority.CopyFrom(_PREVIOUS_PRIORITIES)
    if retries.backoff is not None:
        policy.retry_back_off.base_interval.CopyFrom(duration(retries.backoff))
