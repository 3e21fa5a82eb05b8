"""HTTP routes between the users' APIs and Envoy: what a VirtualService comes to, and what Envoy's routes are made from.

    HTTPRoute ─┬─ ref       where somebody wrote it
               ├─ match     which requests take it: HTTPMatch ── PathMatch, HeaderMatch, QueryParamMatch
               └─ action    what becomes of them: Forward ── WeightedBackend ── Backend; Timeouts, Retries

All is resolved: hosts are whole names, ports are numbers, defaults are written out; a route has one match, and routes
stand in the order in which they are tried. The words are the Gateway API's.
Source: https://gateway-api.sigs.k8s.io/reference/spec/
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pilotfish.model.ref import FieldRef
from pilotfish.model.values import Duration


class MatchType(StrEnum):
    EXACT = "exact"
    PREFIX = "prefix"
    """Of the text, not of a path's segments."""
    REGEX = "regex"
    """RE2 syntax; the whole value must match."""
    PRESENT = "present"
    """Any value will do."""


@dataclass(frozen=True, slots=True)
class StringMatch:
    type: MatchType
    value: str = ""


@dataclass(frozen=True, slots=True)
class PathMatch:
    """Of the path without its query."""

    type: MatchType = MatchType.PREFIX
    """Never PRESENT: every request has a path."""
    value: str = "/"
    ignore_case: bool = False

    @property
    def matches_everything(self) -> bool:
        if self.type is MatchType.REGEX:
            return self.value in (".*", "/.*")
        return self.type is MatchType.PREFIX and self.value == "/"


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    name: str
    """Lower-case."""
    value: StringMatch
    inverted: bool = False
    """Requests whose header does not match, or that lack it."""


@dataclass(frozen=True, slots=True)
class QueryParamMatch:
    name: str
    value: StringMatch


@dataclass(frozen=True, slots=True)
class HTTPMatch:
    """All must hold; one that says nothing matches every request."""

    path: PathMatch = PathMatch()
    method: StringMatch | None = None
    authority: StringMatch | None = None
    scheme: StringMatch | None = None
    headers: tuple[HeaderMatch, ...] = ()
    query_params: tuple[QueryParamMatch, ...] = ()

    @property
    def matches_everything(self) -> bool:
        """No request gets past, so that what follows is never reached."""
        others = self.method or self.authority or self.scheme or self.headers or self.query_params
        return not others and self.path.matches_everything


class InvalidReason(StrEnum):
    """Why a backend is invalid: the reason of the Problem, too."""

    UNKNOWN_HOST = "UnknownHost"
    UNKNOWN_PORT = "UnknownPort"
    UNKNOWN_SUBSET = "UnknownSubset"


@dataclass(frozen=True, slots=True)
class Invalid:
    reason: InvalidReason
    message: str
    """What is not there: `no Service or ServiceEntry has the host ledger.vm.svc.cluster.local`."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One port of a service, or of a subset of it."""

    host: str
    port: int
    subset: str = ""
    invalid: Invalid | None = None
    """It does not exist. It keeps its place and its share of the requests, which are answered with an error."""


@dataclass(frozen=True, slots=True)
class WeightedBackend:
    backend: Backend
    weight: int = 1
    """Its share of the sum of all weights; none if 0."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """None is no limit."""

    request: Duration | None = None
    """From the request's end to the answer's, retries included. A gRPC client's own deadline holds if it is earlier."""
    backend_request: Duration | None = None
    """The same, for each try."""


@dataclass(frozen=True, slots=True)
class Retries:
    attempts: int
    """Beside the first."""
    conditions: tuple[str, ...]
    """Envoy's names, which are Istio's as well: `connect-failure`."""
    codes: tuple[int, ...] = ()
    """Answers with these HTTP status codes are retried as well."""


@dataclass(frozen=True, slots=True)
class Forward:
    """To one of the backends, by weight."""

    backends: tuple[WeightedBackend, ...]
    timeouts: Timeouts = Timeouts()
    retries: Retries | None = None


@dataclass(frozen=True, slots=True)
class HTTPRoute:
    name: str
    match: HTTPMatch
    action: Forward
    ref: FieldRef | None = None
    """None for the plain route of a service, which nobody wrote."""
