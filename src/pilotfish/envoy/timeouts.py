"""How long a request may take.

    RouteAction.timeout               counts from the request's end; what is over it is answered 504
    RouteAction.max_stream_duration   counts from the request's beginning, and can honour a gRPC client's own deadline,
                                      the header `grpc-timeout`; where it stands, Envoy ignores `timeout`

The deprecated `max_grpc_timeout` did both, and each use of it is warned of. So a route with a timeout becomes two: gRPC
requests that state a deadline take the first, all others the second. A route without a timeout needs no `timeout`.
Source: Envoy 1.40, RouteAction in api-v3/config/route/v3/route_components.proto
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from envoy.config.route.v3.route_components_pb2 import HeaderMatcher, Route, RouteAction

from pilotfish.envoy.message import duration
from pilotfish.model import Duration

_NONE: Final = duration(Duration(0))


def set_timeout(action: RouteAction, timeout: Duration | None = None) -> None:
    """The whole time that a response may take, retries included. None, or zero, is as long as it likes, as in Istio."""
    if timeout is not None and timeout.nanos:
        action.timeout.CopyFrom(duration(timeout))
        return
    action.timeout.CopyFrom(_NONE)
    # How long the stream may take at the most is left to whoever has the route (`httpMaxStreamDuration`).
    action.max_stream_duration.grpc_timeout_header_max.CopyFrom(_NONE)


def split_by_deadline(route: Route) -> Iterator[Route]:
    """The route; before it, where it has a timeout, one for gRPC requests: the earlier of the two deadlines holds."""
    action = route.route
    if action.timeout != _NONE:
        early = Route()
        early.CopyFrom(route)
        early.match.grpc.SetInParent()
        early.match.headers.append(HeaderMatcher(name="grpc-timeout", present_match=True))
        early.route.max_stream_duration.grpc_timeout_header_max.CopyFrom(action.timeout)
        # For a header that can't be read.
        early.route.max_stream_duration.max_stream_duration.CopyFrom(action.timeout)
        yield early
    yield route
