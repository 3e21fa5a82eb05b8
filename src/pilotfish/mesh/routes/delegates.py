"""Routes that a VirtualService leaves to another: what the two say together.

What a delegate's rule says itself comes before what the root's says. Its matches narrow the root's: one that the root's
exclude is a conflict, and the rule is not used (`delegate_problems`). As Istio's mergeVirtualServicesIfNeeded.
Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#Delegate
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from pilotfish.config import istio
from pilotfish.mesh.gateway_names import gateway_name
from pilotfish.mesh.hosts import resolve
from pilotfish.model import ObjectRef

_NO_HEADERS: Final = istio.Headers()
_STRINGS: Final = ("uri", "scheme", "method", "authority")
_MAPS: Final = ("headers", "without_headers", "query_params")


@dataclass(frozen=True, slots=True)
class Rule:
    """One HTTP route, and where it was written."""

    ref: ObjectRef
    field: str
    route: istio.HTTPRoute
    is_merged: bool = False
    """Its matches are nowhere written as they are."""


Find = Callable[[istio.Delegate], tuple[ObjectRef, istio.VirtualServiceSpec] | None]
"""The VirtualService that is meant; None if there is none, or if it is not exported to who asks."""


def own_rules(ref: ObjectRef, spec: istio.VirtualServiceSpec) -> Iterator[Rule]:
    for index, route in enumerate(spec.http):
        yield Rule(ref, f"spec.http[{index}]", _with_whole_gateways(route, ref.namespace))


def all_rules(ref: ObjectRef, spec: istio.VirtualServiceSpec, find: Find) -> Iterator[Rule]:
    """Those of a delegate in the place of the rule that leaves its requests to it; none if it is not there."""
    for rule in own_rules(ref, spec):
        if rule.route.delegate is None:
            yield rule
        elif (found := find(rule.route.delegate)) is not None:
            yield from (merged for _, merged in merge(rule.route, *found) if merged is not None)


def merge(root: istio.HTTPRoute, ref: ObjectRef, spec: istio.VirtualServiceSpec) -> Iterator[tuple[str, Rule | None]]:
    """(field of the delegate, what it comes to under the root's rule); None where their matches exclude each other."""
    for rule in own_rules(ref, spec):
        merged = _merge_routes(root, _with_whole_hosts(rule.route, ref.namespace))
        yield rule.field, Rule(ref, rule.field, merged, is_merged=True) if merged is not None else None


def _with_whole_gateways(route: istio.HTTPRoute, namespace: str) -> istio.HTTPRoute:
    if not any(match.gateways for match in route.match):
        return route
    matches = (
        msgspec.structs.replace(match, gateways=tuple(gateway_name(name, namespace) for name in match.gateways))
        for match in route.match
    )
    return msgspec.structs.replace(route, match=tuple(matches))


def _with_whole_hosts(route: istio.HTTPRoute, namespace: str) -> istio.HTTPRoute:
    """Short names are of the namespace of whoever wrote them."""

    def whole(destination: istio.Destination) -> istio.Destination:
        return msgspec.structs.replace(destination, host=resolve(destination.host, namespace))

    return msgspec.structs.replace(
        route,
        route=tuple(msgspec.structs.replace(each, destination=whole(each.destination)) for each in route.route),
        mirror=whole(route.mirror) if route.mirror is not None else None,
        mirrors=tuple(msgspec.structs.replace(each, destination=whole(each.destination)) for each in route.mirrors),
    )


def _merge_routes(root: istio.HTTPRoute, own: istio.HTTPRoute) -> istio.HTTPRoute | None:
    matches = _merge_matches(root.match, own.match)
    if matches is None:
        return None
    mirrored = own if own.mirror is not None or own.mirrors else root
    return msgspec.structs.replace(
        own,
        name="-".join(filter(None, (root.name, own.name))),
        match=matches,
        rewrite=own.rewrite or root.rewrite,
        timeout=own.timeout if own.timeout is not None else root.timeout,
        retries=own.retries or root.retries,
        fault=own.fault or root.fault,
        mirror=mirrored.mirror,
        mirrors=mirrored.mirrors,
        mirror_percentage=own.mirror_percentage or root.mirror_percentage,
        mirror_percent=own.mirror_percent if own.mirror_percent is not None else root.mirror_percent,
        cors_policy=own.cors_policy or root.cors_policy,
        headers=own.headers if own.headers != _NO_HEADERS else root.headers,
    )


Matches = tuple[istio.HTTPMatchRequest, ...]


def _merge_matches(root: Matches, own: Matches) -> Matches | None:
    """Each of the delegate's under each of the root's that allows it; None if one has none."""
    if not root or not own:
        return root or own
    merged: list[istio.HTTPMatchRequest] = []
    for match in own:
        under = [_merge_match(above, match) for above in root if not _exclude(above, match)]
        if not under:
            return None
        merged += under
    return tuple(merged)


def _merge_match(root: istio.HTTPMatchRequest, own: istio.HTTPMatchRequest) -> istio.HTTPMatchRequest:
    return msgspec.structs.replace(
        own,
        name="-".join(filter(None, (root.name, own.name))),
        **{name: getattr(own, name) or getattr(root, name) for name in _STRINGS},
        **{name: getattr(root, name) | getattr(own, name) for name in (*_MAPS, "source_labels")},
        port=own.port or root.port,
        source_namespace=own.source_namespace or root.source_namespace,
        gateways=own.gateways or root.gateways,
        stat_prefix=own.stat_prefix or root.stat_prefix,
    )


def _exclude(root: istio.HTTPMatchRequest, own: istio.HTTPMatchRequest) -> bool:
    """Whether the delegate's match may hold where the root's does not."""
    return (
        any(_is_wider(getattr(own, name), getattr(root, name)) for name in _STRINGS)
        or any(_has_wider(getattr(own, name), getattr(root, name)) for name in _MAPS)
        or root.ignore_uri_case != own.ignore_uri_case
        or _differ(root.port, own.port)
        or _differ(root.source_namespace, own.source_namespace)
        or any(_differ(root.source_labels.get(name, ""), value) for name, value in own.source_labels.items())
    )


def _differ(one: object, other: object) -> bool:
    return bool(one and other and one != other)


def _has_wider(own: Mapping[str, istio.StringMatch], root: Mapping[str, istio.StringMatch]) -> bool:
    return any(_is_wider(match, root.get(name)) for name, match in own.items())


def _is_wider(own: istio.StringMatch | None, root: istio.StringMatch | None) -> bool:
    """Nobody can say of two regular expressions which is the wider, so one beside another match always is."""
    if own is None or root is None:
        return False
    if root.exact:
        return own.exact != root.exact
    text = own.exact or own.prefix
    return not (root.prefix and text and text.startswith(root.prefix))
