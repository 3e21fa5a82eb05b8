"""How much one stream may ask for: what it asks for is kept for as long as it lasts."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pilotfish.ads.request import DeltaRequest, Request

LARGEST_REQUEST: Final = 4 << 20
"""Bytes: an Envoy that reconnects says what it holds, 40,000 names with their versions."""
MOST_NAMES: Final = 1 << 16
"""In one request, and subscribed to in one stream, of all types together."""
LONGEST_NAME: Final = 1024
MOST_TYPES: Final = 16


class ExcessiveRequestError(ValueError):
    """More is asked for than a sidecar ever does. `str` is for its log."""


def check_request(request: Request) -> None:
    """Raises ExcessiveRequestError."""
    asked: tuple[str, ...]
    if isinstance(request, DeltaRequest):
        asked = (*request.subscribe, *request.unsubscribe, *request.initial)
    else:
        asked = request.names
    if len(asked) > MOST_NAMES:
        raise ExcessiveRequestError(f"a request names {len(asked)} resources; {MOST_NAMES} is the most")
    if any(len(name) > LONGEST_NAME for name in (request.type_url, *asked)):
        raise ExcessiveRequestError(f"a name is longer than {LONGEST_NAME} characters")


def check_subscription(types: int, names: Collection[Collection[str]]) -> None:
    """All that a stream has asked for, the names of each type. Raises ExcessiveRequestError."""
    if types > MOST_TYPES:
        raise ExcessiveRequestError(f"a stream asks for {types} types; {MOST_TYPES} is the most")
    count = sum(map(len, names))
    if count > MOST_NAMES:
        raise ExcessiveRequestError(f"a stream asks for {count} resources by name; {MOST_NAMES} is the most")
    size = sum(len(name) for each in names for name in each)
    if size > LARGEST_REQUEST:
        what = f"names of {size} characters in all"
        raise ExcessiveRequestError(f"a stream asks for {what}; {LARGEST_REQUEST} is the most, as in one request")
