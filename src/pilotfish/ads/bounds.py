"""How much one stream may ask for, and have kept: what it asks for is kept for as long as it lasts, and what it was
answered until it has said what it makes of that."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from pilotfish.ads.request import DeltaRequest, Request

LARGEST_REQUEST: Final = 4 << 20
"""Bytes: an Envoy that reconnects says what it holds, 40,000 names with their versions."""
MOST_NAMES: Final = 1 << 16
"""In one request, and subscribed to in one stream, of all types together."""
LONGEST_NAME: Final = 1024
LONGEST_VERSION: Final = 256
"""Of a resource that a proxy holds from an earlier stream, maybe of another server's."""
MOST_TYPES: Final = 16


MOST_KEPT: Final = 2
"""Times what one stream may ask for: what is kept of names, those of unanswered responses among them, for a stream, or
for all streams of a pod together."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Names that are kept, and their characters."""

    names: int = 0
    characters: int = 0

    @classmethod
    def of(cls, names: Collection[str]) -> Kept:
        return cls(len(names), sum(map(len, names)))

    @classmethod
    def sum(cls, each: Iterable[Kept]) -> Kept:
        found = tuple(each)
        return cls(sum(one.names for one in found), sum(one.characters for one in found))


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
    versions = request.initial.values() if isinstance(request, DeltaRequest) else (request.version,)
    if any(len(version) > LONGEST_VERSION for version in versions):
        raise ExcessiveRequestError(f"a version is longer than {LONGEST_VERSION} characters")


def check_subscription(types: int, asked: Kept) -> None:
    """All that a stream has asked for. Raises ExcessiveRequestError."""
    if types > MOST_TYPES:
        raise ExcessiveRequestError(f"a stream asks for {types} types; {MOST_TYPES} is the most")
    if asked.names > MOST_NAMES:
        raise ExcessiveRequestError(f"a stream asks for {asked.names} resources by name; {MOST_NAMES} is the most")
    if asked.characters > LARGEST_REQUEST:
        what = f"names of {asked.characters} characters in all"
        raise ExcessiveRequestError(f"a stream asks for {what}; {LARGEST_REQUEST} is the most, as in one request")


def check_kept(kept: Kept, whose: str) -> None:
    """All that is kept for `whose`, such as `a stream`. Raises ExcessiveRequestError."""
    names, characters = MOST_KEPT * MOST_NAMES, MOST_KEPT * LARGEST_REQUEST
    if kept.names > names or kept.characters > characters:
        what = f"{kept.names} names of {kept.characters} characters"
        raise ExcessiveRequestError(
            f"{what} would be kept for {whose}, those of responses that were not answered among them; "
            f"{names} of {characters} are the most"
        )
