"""What is done to headers → Envoy's operations, which a route and each of its weighted clusters have alike."""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.config.route.v3.route_components_pb2 import Route, WeightedCluster

from pilotfish.model.route import HeaderModifier, HeaderOperations

_Action = HeaderValueOption.HeaderAppendAction


def add_header_operations(target: Route | WeightedCluster.ClusterWeight, source: HeaderModifier) -> None:
    """Behind those that are there: the last to set a header counts. Envoy removes first, whatever the order, and sets
    none to nothing."""
    target.request_headers_to_add.extend(_operations(source.request))
    target.request_headers_to_remove.extend(source.request.remove)
    target.response_headers_to_add.extend(_operations(source.response))
    target.response_headers_to_remove.extend(source.response.remove)


def _operations(source: HeaderOperations) -> Iterator[HeaderValueOption]:
    yield from (_option(name, value, _Action.OVERWRITE_IF_EXISTS_OR_ADD) for name, value in source.set)
    yield from (_option(name, value, _Action.APPEND_IF_EXISTS_OR_ADD) for name, value in source.add)


def _option(name: str, value: str, action: int) -> HeaderValueOption:
    return HeaderValueOption(header=HeaderValue(key=name, value=value), append_action=action)
