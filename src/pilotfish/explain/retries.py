"""Whether a proxy tries a request again that failed, and which endpoint gets it then.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/router_filter (x-envoy-retry-on),
and RetryPolicy in api-v3/config/route/v3/route_components.proto
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2 import (
    PreviousPrioritiesConfig,
)

from pilotfish.explain.call import HttpRequest
from pilotfish.explain.trace import End

_PREVIOUS_HOSTS: Final = "envoy.retry_host_predicates.previous_hosts"
_TIMEOUT: Final = 15.0
"""Of a route that says none."""
_UNCONNECTED: Final = frozenset({"connect-failure", "reset", "reset-before-request", "5xx", "gateway-error"})
_GRPC: Final = {400: "internal", 429: "unavailable", 502: "unavailable", 503: "unavailable", 504: "unavailable"}
"""What a status becomes for gRPC: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md"""
_RESET: Final = frozenset({"reset", "5xx", "gateway-error"})


@dataclass(frozen=True, slots=True)
class Retrying:
    """What a route says of one request."""

    most: int = 0
    """Tries beside the first."""
    conditions: frozenset[str] = frozenset()
    """Envoy's words: `connect-failure`, `5xx` …"""
    codes: frozenset[int] = frozenset()
    draws: int = 1
    """So often an endpoint is drawn for another try, while it is one that failed before; then any will do."""
    priorities_after: int = 0
    """After each so many tries the priorities that were tried are left out; 0 for never."""
    is_hashed: bool = False
    """A hash of the request decides, where the cluster lets one."""
    timeout: float = 0.0
    """Seconds for all tries together; 0 for any time."""
    unread: str = ""
    """What else decides about the next endpoint, and is not read here."""

    def retries(self, end: End, status: int | None, is_grpc: bool = False) -> bool:
        """Whether what ends so is tried again, as long as there are tries. `status`: HTTP's, also where it is
        gRPC's that is told (`is_grpc`)."""
        if not self.most:
            return False
        if end in (End.REFUSED, End.TIMEOUT):
            return bool(self.conditions & _UNCONNECTED)
        if end is End.RESET:
            return bool(self.conditions & _RESET)
        if end is not End.RESPONSE or status is None:
            return False
        return _GRPC.get(status, "unknown") in self.conditions if is_grpc else self._is_bad(status)

    def _is_bad(self, status: int) -> bool:
        return (
            ("5xx" in self.conditions and 500 <= status < 600)
            or ("gateway-error" in self.conditions and status in (502, 503, 504))
            or ("retriable-4xx" in self.conditions and status == 409)
            or ("retriable-status-codes" in self.conditions and status in self.codes)
        )


def retrying(route: Route, host: VirtualHost, request: HttpRequest) -> Retrying:
    """By the route's own policy, else by its virtual host's."""
    action = route.route
    policy = action.retry_policy if action.HasField("retry_policy") else host.retry_policy
    predicates = [each.name for each in policy.retry_host_predicate]
    unread = next((name for name in predicates if name != _PREVIOUS_HOSTS), "")
    frequency = 0
    if policy.HasField("retry_priority"):
        config = policy.retry_priority.typed_config
        if config.Is(PreviousPrioritiesConfig.DESCRIPTOR):
            frequency = PreviousPrioritiesConfig.FromString(config.value).update_frequency
        else:
            unread = policy.retry_priority.name
    return Retrying(
        most=(policy.num_retries.value if policy.HasField("num_retries") else 1) if policy.retry_on else 0,
        conditions=frozenset(policy.retry_on.split(",")),
        codes=frozenset(policy.retriable_status_codes),
        draws=(policy.host_selection_retry_max_attempts or 1) + 1 if predicates else 1,
        priorities_after=frequency,
        is_hashed=any(_has_hash(each, request) for each in action.hash_policy),
        timeout=action.timeout.seconds + action.timeout.nanos / 1e9 if action.HasField("timeout") else _TIMEOUT,
        unread=unread,
    )


def _has_hash(policy: Any, request: HttpRequest) -> bool:
    match policy.WhichOneof("policy_specifier"):
        case "header":
            return policy.header.header_name.lower() in request.headers
        case "query_parameter":
            names = (each.partition("=")[0] for each in request.path.partition("?")[2].split("&"))
            return policy.query_parameter.name in names
        case _:
            return True


class Draws:
    """Which endpoint the next try gets, of those that can't be told apart by what is known of them.

    Envoy draws anew while an endpoint failed before, `draws` times at most; then any will do. Endpoints of one share
    that fail as often are one class, and what counts is how many of each class were tried.
    """

    def __init__(self, shares: Sequence[float], failing: Sequence[float], draws: int) -> None:
        """`shares`: of each endpoint, adding up to 1. `failing`: the part of its requests that fails."""
        kinds = [(round(share, 9), round(part, 9)) for share, part in zip(shares, failing, strict=True)]
        self._kinds = list(dict.fromkeys(kinds))
        self._of = [self._kinds.index(kind) for kind in kinds]
        self._sizes = [kinds.count(kind) for kind in self._kinds]
        self._draws = draws
        self._states: dict[tuple[int, ...], float] = {(0,) * len(self._kinds): 1.0}
        """How many of each class have failed, and the probability of that."""

    def next(self) -> list[float]:
        """The probability that each endpoint gets the next try, after what failed so far. At first all add up to 1."""
        drawn = [0.0] * len(self._kinds)
        states: dict[tuple[int, ...], float] = defaultdict(float)
        for tried, mass in self._states.items():
            again = sum(count * share for count, (share, _) in zip(tried, self._kinds, strict=True))
            fresh = (1 - again**self._draws) / (1 - again) if again < 1 - 1e-9 else 0.0
            for i, ((share, part), size) in enumerate(zip(self._kinds, self._sizes, strict=True)):
                old = mass * share * again ** (self._draws - 1) * tried[i]
                new = mass * share * fresh * (size - tried[i])
                drawn[i] += (old + new) / size
                if old * part:
                    states[tried] += old * part
                if new * part:
                    states[(*tried[:i], tried[i] + 1, *tried[i + 1 :])] += new * part
        self._states = states
        return [drawn[i] for i in self._of]
