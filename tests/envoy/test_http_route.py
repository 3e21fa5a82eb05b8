"""What routes in neutral form become in Envoy, as far as no VirtualService can ask for it."""

from __future__ import annotations

from envoy.config.route.v3.route_components_pb2 import Route

from pilotfish.envoy.http_route import build_routes
from pilotfish.envoy.naming import BLACK_HOLE
from pilotfish.model import Duration
from pilotfish.model.route import Backend, Forward, HTTPMatch, HTTPRoute, Retries, Timeouts, WeightedBackend

WEB = Backend("web.vm.svc.cluster.local", 80)


def _built(action: Forward) -> Route:
    (route,) = build_routes(HTTPRoute("web", HTTPMatch(), action), 80)
    return route


def test_backends_without_weight_get_nothing_even_if_there_is_no_other() -> None:
    for backends in ((), (WeightedBackend(WEB, 0),), (WeightedBackend(WEB, 0), WeightedBackend(WEB, 0))):
        assert _built(Forward(backends)).route.cluster == BLACK_HOLE


def test_a_limit_for_each_try_holds_where_there_is_but_one() -> None:
    policy = _built(Forward((WeightedBackend(WEB),), Timeouts(backend_request=Duration(10**9)))).route.retry_policy
    assert policy.per_try_timeout.seconds == 1
    assert policy.num_retries.value == 0
    assert policy.retry_on == ""


def test_status_codes_are_retried_once_envoy_is_told_to_look_at_them() -> None:
    policy = _built(Forward((WeightedBackend(WEB),), retries=Retries(1, (), (503,)))).route.retry_policy
    assert policy.retry_on == "retriable-status-codes"
    assert list(policy.retriable_status_codes) == [503]
