"""VirtualService matches → Envoy's route matches.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPMatchRequest
"""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.route.v3.route_components_pb2 import HeaderMatcher, QueryParameterMatcher, RouteMatch
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from pilotfish.config import istio


def build_match(source: istio.HTTPMatchRequest | None) -> RouteMatch:
    """All requests, where there is no match to fulfil."""
    match = RouteMatch()
    _set_path(match, source)
    if source is not None:
        match.headers.extend(_headers(source))
        match.query_parameters.extend(_query_parameters(source))
    return match


def matches_all(match: RouteMatch) -> bool:
    """No request gets past such a route, so that what follows it is never reached."""
    anything = match.prefix == "/" or (match.HasField("safe_regex") and match.safe_regex.regex in (".*", "/.*"))
    return anything and not match.headers and not match.query_parameters


def _set_path(match: RouteMatch, source: istio.HTTPMatchRequest | None) -> None:
    uri = source.uri if source is not None else None
    if uri is None or (uri.exact is None and uri.prefix is None and uri.regex is None):
        match.prefix = "/"
        return
    if uri.exact is not None:
        match.path = uri.exact
    elif uri.prefix is not None:
        match.prefix = uri.prefix
    else:
        match.safe_regex.regex = uri.regex or ""
        return
    if source is not None and source.ignore_uri_case:
        match.case_sensitive.value = False


def _headers(source: istio.HTTPMatchRequest) -> Iterator[HeaderMatcher]:
    pseudo = ((":method", source.method), (":authority", source.authority), (":scheme", source.scheme))
    yield from (_header(name, wanted) for name, wanted in pseudo if wanted is not None)
    yield from (_header(name, wanted) for name, wanted in sorted(source.headers.items()))
    for name, unwanted in sorted(source.without_headers.items()):
        matcher = _header(name, unwanted)
        matcher.invert_match = True
        # Envoy never matches a header that is missing, inverted or not, unless it is read as empty.
        matcher.treat_missing_header_as_empty = not matcher.HasField("present_match")
        yield matcher


def _header(name: str, wanted: istio.StringMatch) -> HeaderMatcher:
    if _is_presence(wanted):
        return HeaderMatcher(name=name.lower(), present_match=True)
    return HeaderMatcher(name=name.lower(), string_match=_string(wanted))


def _query_parameters(source: istio.HTTPMatchRequest) -> Iterator[QueryParameterMatcher]:
    for name, wanted in sorted(source.query_params.items()):
        if _is_presence(wanted):
            yield QueryParameterMatcher(name=name, present_match=True)
        else:
            yield QueryParameterMatcher(name=name, string_match=_string(wanted))


def _is_presence(wanted: istio.StringMatch) -> bool:
    """Nothing is asked of the value. Istio reads the regex `*`, which is none, as that too."""
    return wanted.regex == "*" or (wanted.exact is None and not wanted.prefix and wanted.regex is None)


def _string(wanted: istio.StringMatch) -> StringMatcher:
    if wanted.exact is not None:
        return StringMatcher(exact=wanted.exact)
    if wanted.prefix is not None:
        return StringMatcher(prefix=wanted.prefix)
    return StringMatcher(safe_regex=RegexMatcher(regex=wanted.regex or ""))
