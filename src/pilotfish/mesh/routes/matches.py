"""Which requests a route takes, in neutral form.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPMatchRequest
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pilotfish.config import istio
from pilotfish.config.headers import claim_of, is_claim
from pilotfish.model.route import ClaimMatch, HeaderMatch, HTTPMatch, MatchType, PathMatch, QueryParamMatch, StringMatch


def lower_match(source: istio.HTTPMatchRequest) -> HTTPMatch:
    return HTTPMatch(
        path=_path(source),
        method=lower_string(source.method) if source.method is not None else None,
        authority=lower_string(source.authority) if source.authority is not None else None,
        scheme=lower_string(source.scheme) if source.scheme is not None else None,
        headers=(*_headers(source.headers, False), *_headers(source.without_headers, True)),
        claims=(*_claims(source.headers, False), *_claims(source.without_headers, True)),
        query_params=tuple(QueryParamMatch(name, lower_string(v)) for name, v in sorted(source.query_params.items())),
    )


def _path(source: istio.HTTPMatchRequest) -> PathMatch:
    uri = source.uri or istio.StringMatch()
    if uri.exact is not None:
        return PathMatch(MatchType.EXACT, uri.exact, source.ignore_uri_case)
    if uri.prefix is not None:
        return PathMatch(MatchType.PREFIX, uri.prefix, source.ignore_uri_case)
    return PathMatch(MatchType.REGEX, uri.regex) if uri.regex is not None else PathMatch()


def _headers(source: Mapping[str, istio.StringMatch], inverted: bool) -> Iterator[HeaderMatch]:
    for name, wanted in sorted(source.items()):
        if not is_claim(name):
            yield HeaderMatch(name.lower(), lower_string(wanted), inverted)


def _claims(source: Mapping[str, istio.StringMatch], inverted: bool) -> Iterator[ClaimMatch]:
    for name, wanted in sorted(source.items()):
        if is_claim(name):
            yield ClaimMatch(claim_of(name) or (), lower_string(wanted), inverted)


def lower_string(source: istio.StringMatch) -> StringMatch:
    """Where nothing is asked of the value, it must be there. Istio reads the regex `*`, which is none, as that too."""
    if source.exact is not None:
        return StringMatch(MatchType.EXACT, source.exact)
    if source.prefix:
        return StringMatch(MatchType.PREFIX, source.prefix)
    if source.regex is not None and source.regex != "*":
        return StringMatch(MatchType.REGEX, source.regex)
    return StringMatch(MatchType.PRESENT)
