"""A VirtualService → routes in neutral form.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from pilotfish.config import istio
from pilotfish.mesh.retries import lower_retries
from pilotfish.model import Duration, FieldRef, ObjectRef
from pilotfish.model.route import (
    Backend,
    Forward,
    HeaderMatch,
    HTTPMatch,
    HTTPRoute,
    MatchType,
    PathMatch,
    QueryParamMatch,
    StringMatch,
    Timeouts,
    WeightedBackend,
)

Resolve = Callable[[istio.Destination], Backend]
"""What a destination means to the clients whose routes are made."""

_EVERYTHING: Final = HTTPMatch()


def lower_http(ref: ObjectRef, spec: istio.VirtualServiceSpec, port: int, resolve: Resolve) -> Iterator[HTTPRoute]:
    """The routes that hold on a port, one for each alternative of a rule's matches.

    The last is the first that takes every request: what follows it is never reached.
    """
    for index, rule in enumerate(spec.http):
        matches = tuple(_matches_on(rule, f"spec.http[{index}]", port))
        if not matches:
            continue
        action = _forward(rule, resolve)
        for field, name, match in matches:
            yield HTTPRoute(".".join(filter(None, (rule.name, name))), match, action, FieldRef(ref, field))
            if match.matches_everything:
                return


def _matches_on(rule: istio.HTTPRoute, field: str, port: int) -> Iterator[tuple[str, str, HTTPMatch]]:
    """(field, name, match); a rule without any matches everything."""
    if not rule.match:
        yield field, "", _EVERYTHING
    for index, match in enumerate(rule.match):
        if match.port in (0, port):
            yield f"{field}.match[{index}]", match.name, _match(match)


def _forward(rule: istio.HTTPRoute, resolve: Resolve) -> Forward:
    retries = lower_retries(rule.retries)
    each = rule.retries.per_try_timeout if rule.retries is not None and retries is not None else None
    return Forward(weigh(rule.route, resolve), Timeouts(_limit(rule.timeout), _limit(each)), retries)


def weigh(
    routes: Sequence[istio.HTTPRouteDestination | istio.RouteDestination], resolve: Resolve
) -> tuple[WeightedBackend, ...]:
    """A lone destination takes everything, whatever its weight."""
    alone = len(routes) == 1
    return tuple(WeightedBackend(resolve(r.destination), 1 if alone else r.weight) for r in routes)


def _limit(timeout: Duration | None) -> Duration | None:
    """Zero, too, is no limit."""
    return timeout if timeout is not None and timeout.nanos else None


def _match(source: istio.HTTPMatchRequest) -> HTTPMatch:
    return HTTPMatch(
        path=_path(source),
        method=_string(source.method) if source.method is not None else None,
        authority=_string(source.authority) if source.authority is not None else None,
        scheme=_string(source.scheme) if source.scheme is not None else None,
        headers=(*_headers(source.headers, False), *_headers(source.without_headers, True)),
        query_params=tuple(QueryParamMatch(name, _string(v)) for name, v in sorted(source.query_params.items())),
    )


def _path(source: istio.HTTPMatchRequest) -> PathMatch:
    uri = source.uri or istio.StringMatch()
    if uri.exact is not None:
        return PathMatch(MatchType.EXACT, uri.exact, source.ignore_uri_case)
    if uri.prefix is not None:
        return PathMatch(MatchType.PREFIX, uri.prefix, source.ignore_uri_case)
    return PathMatch(MatchType.REGEX, uri.regex) if uri.regex is not None else PathMatch()


def _headers(source: Mapping[str, istio.StringMatch], inverted: bool) -> Iterator[HeaderMatch]:
    yield from (HeaderMatch(name.lower(), _string(wanted), inverted) for name, wanted in sorted(source.items()))


def _string(source: istio.StringMatch) -> StringMatch:
    """Where nothing is asked of the value, it must be there. Istio reads the regex `*`, which is none, as that too."""
    if source.exact is not None:
        return StringMatch(MatchType.EXACT, source.exact)
    if source.prefix:
        return StringMatch(MatchType.PREFIX, source.prefix)
    if source.regex is not None and source.regex != "*":
        return StringMatch(MatchType.REGEX, source.regex)
    return StringMatch(MatchType.PRESENT)
