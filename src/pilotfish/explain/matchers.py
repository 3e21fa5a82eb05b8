"""Whether Envoy's matchers hold, by what is known: yes, no, or that it can't be told.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/type/matcher/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import re2

from pilotfish.envoy.rbac import JWT_FILTER, PAYLOAD


class Holds(Enum):
    """Whether a criterion holds."""

    YES = True
    NO = False
    UNKNOWN = None


def match_header(header: Any, value: str | None) -> Holds:
    kind = header.WhichOneof("header_match_specifier")
    if value is None and header.treat_missing_header_as_empty:
        value = ""
    if kind == "present_match":
        return holds((value is not None) is header.present_match)
    if kind is None:
        return holds(value is not None)
    if value is None:
        return Holds.NO
    if kind == "string_match":
        return match_string(header.string_match, value)
    if kind == "range_match":
        number = int(value) if re.fullmatch(r"-?\d{1,18}", value) else None
        return holds(number is not None and header.range_match.start <= number < header.range_match.end)
    return Holds.UNKNOWN


def match_string(match: Any, value: str) -> Holds:
    kind = match.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return match_regex(match.safe_regex.regex, value)
    if kind not in ("exact", "prefix", "suffix", "contains"):
        return Holds.UNKNOWN
    wanted = getattr(match, kind)
    if match.ignore_case:
        wanted, value = wanted.lower(), value.lower()
    match kind:
        case "exact":
            return holds(value == wanted)
        case "prefix":
            return holds(value.startswith(wanted))
        case "suffix":
            return holds(value.endswith(wanted))
        case _:
            return holds(wanted in value)


def match_regex(pattern: str, value: str) -> Holds:
    """By Envoy's own engine, RE2. Envoy would have refused what that can't read."""
    options = re2.Options()
    options.log_errors = False
    try:
        return holds(re2.compile(pattern, options).fullmatch(value) is not None)
    except re2.error:
        return Holds.UNKNOWN


def invert(verdict: Holds, inverted: bool) -> Holds:
    return verdict if verdict is Holds.UNKNOWN or not inverted else Holds(not verdict.value)


def holds(holds: bool) -> Holds:
    return Holds.YES if holds else Holds.NO


def all_of(found: Iterable[Holds]) -> Holds:
    return _first(found, Holds.NO, Holds.YES)


def any_of(found: Iterable[Holds]) -> Holds:
    return _first(found, Holds.YES, Holds.NO)


def _first(found: Iterable[Holds], decisive: Holds, otherwise: Holds) -> Holds:
    seen = set(found)
    if decisive in seen:
        return decisive
    return Holds.UNKNOWN if Holds.UNKNOWN in seen else otherwise


def match_metadata(wanted: Any, claims: Mapping[str, object] | None) -> Holds:
    """Of a request's token, whose claims the JWT filter has noted down; None: there is no token."""
    if wanted.filter != JWT_FILTER or [each.key for each in wanted.path][:1] != [PAYLOAD]:
        return Holds.UNKNOWN
    value: object = claims
    for key in [each.key for each in wanted.path][1:]:
        value = value.get(key) if isinstance(value, Mapping) else None
    return invert(_value(wanted.value, value), wanted.invert)


def _value(wanted: Any, value: object) -> Holds:
    match wanted.WhichOneof("match_pattern"):
        case "present_match":
            return holds((value is not None) is wanted.present_match)
        case "string_match":
            return match_string(wanted.string_match, value) if isinstance(value, str) else Holds.NO
        case "list_match":
            items = value if isinstance(value, list) else []
            return any_of(_value(wanted.list_match.one_of, item) for item in items)
        case "or_match":
            return any_of(_value(each, value) for each in wanted.or_match.value_matchers)
    return Holds.UNKNOWN
