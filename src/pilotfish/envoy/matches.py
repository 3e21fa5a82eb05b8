"""Matches of routes → Envoy's."""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.route.v3.route_components_pb2 import HeaderMatcher, QueryParameterMatcher, RouteMatch
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher

from pilotfish.envoy.rbac import JWT_FILTER, PAYLOAD, build_metadata, claim_value
from pilotfish.model.route import ClaimMatch, HeaderMatch, HTTPMatch, MatchType, PathMatch, QueryParamMatch, StringMatch


def build_match(wanted: HTTPMatch) -> RouteMatch:
    match = RouteMatch()
    _set_path(match, wanted.path)
    match.headers.extend(_pseudo_headers(wanted))
    match.headers.extend(_header(header) for header in wanted.headers)
    match.query_parameters.extend(_query_parameter(param) for param in wanted.query_params)
    match.dynamic_metadata.extend(_claim(claim) for claim in wanted.claims)
    return match


def _set_path(match: RouteMatch, wanted: PathMatch) -> None:
    if wanted.type is MatchType.EXACT:
        match.path = wanted.value
    elif wanted.type is MatchType.PREFIX:
        match.prefix = wanted.value
    else:
        match.safe_regex.regex = wanted.value
    if wanted.ignore_case:
        match.case_sensitive.value = False


def _pseudo_headers(wanted: HTTPMatch) -> Iterator[HeaderMatcher]:
    """Source: RFC 9113, section 8.3.1"""
    named = ((":method", wanted.method), (":authority", wanted.authority), (":scheme", wanted.scheme))
    yield from (_header(HeaderMatch(name, value)) for name, value in named if value is not None)


def _header(wanted: HeaderMatch) -> HeaderMatcher:
    matcher = HeaderMatcher(name=wanted.name, invert_match=wanted.inverted)
    if wanted.value.type is MatchType.PRESENT:
        matcher.present_match = True
        return matcher
    matcher.string_match.CopyFrom(build_string(wanted.value))
    # Envoy never matches a header that is missing, inverted or not, unless it is read as empty.
    matcher.treat_missing_header_as_empty = wanted.inverted
    return matcher


def _query_parameter(wanted: QueryParamMatch) -> QueryParameterMatcher:
    if wanted.value.type is MatchType.PRESENT:
        return QueryParameterMatcher(name=wanted.name, present_match=True)
    return QueryParameterMatcher(name=wanted.name, string_match=build_string(wanted.value))


def _claim(wanted: ClaimMatch) -> MetadataMatcher:
    """As the JWT filter has left it."""
    if wanted.value.type is MatchType.PRESENT:
        value = ValueMatcher(present_match=True)
    else:
        value = claim_value([build_string(wanted.value)])
    matcher = build_metadata(JWT_FILTER, (PAYLOAD, *wanted.path), value)
    matcher.invert = wanted.inverted
    return matcher


def build_string(wanted: StringMatch) -> StringMatcher:
    if wanted.type is MatchType.EXACT:
        return StringMatcher(exact=wanted.value)
    if wanted.type is MatchType.PREFIX:
        return StringMatcher(prefix=wanted.value)
    return StringMatcher(safe_regex=RegexMatcher(regex=wanted.value))
