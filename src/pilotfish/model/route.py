"""HTTP routes between the users' APIs and Envoy: what a VirtualService comes to, and what Envoy's routes are made from.

    HTTPRoute ─┬─ ref       where somebody wrote it
               ├─ match     which requests take it: HTTPMatch ── PathMatch, HeaderMatch, QueryParamMatch
               ├─ headers, fault, cors    what is done with them first
               └─ action    what becomes of them: Forward ── WeightedBackend ── Backend; Timeouts, Retries, Rewrite,
                            Mirror; Redirect; DirectResponse

All is resolved: hosts are whole names, ports are numbers, defaults are written out; a route has one match, and routes
stand in the order in which they are tried. The words are the Gateway API's.
Source: https://gateway-api.sigs.k8s.io/reference/spec/
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pilotfish.model.ref import FieldRef
from pilotfish.model.traffic_policy import HashKey, Passing
from pilotfish.model.values import Duration

MILLION: Final = 10**6
"""Of which shares of requests are parts: all."""


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
class ClaimMatch:
    """Of the request's token, where somebody has verified it."""

    path: tuple[str, ...]
    """The way to the claim. A claim that is a list matches by each of its values."""
    value: StringMatch
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class HTTPMatch:
    """All must hold; one that says nothing matches every request."""

    path: PathMatch = PathMatch()
    method: StringMatch | None = None
    authority: StringMatch | None = None
    scheme: StringMatch | None = None
    headers: tuple[HeaderMatch, ...] = ()
    query_params: tuple[QueryParamMatch, ...] = ()
    claims: tuple[ClaimMatch, ...] = ()

    @property
    def matches_everything(self) -> bool:
        """No request gets past, so that what follows is never reached."""
        others = self.method or self.authority or self.scheme or self.headers or self.query_params or self.claims
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
    hash_key: HashKey | None = None
    """Requests, or connections, for which this is equal go to the same endpoint."""
    passing: Passing | None = None
    """Of its TCP connections."""
    looked_up: bool = False
    """Clients look up where each name of it is."""
    passed_on: bool = False
    """Connections go to it as they come, with whatever TLS they speak."""
    stat_name: str = ""
    """What its TCP connections are counted under; "" is the cluster's name."""


@dataclass(frozen=True, slots=True)
class HeaderOperations:
    """Removed first, then set, then added; names in lower case, sorted. Neither pseudo-headers nor the host."""

    set: tuple[tuple[str, str], ...] = ()
    """In place of what was there. Values may hold Envoy's operators: `%HOSTNAME%`."""
    add: tuple[tuple[str, str], ...] = ()
    """Beside what was there."""
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeaderModifier:
    request: HeaderOperations = HeaderOperations()
    response: HeaderOperations = HeaderOperations()


class PathModifierType(StrEnum):
    FULL = "full"
    """The whole path becomes the value."""
    PREFIX = "prefix"
    """The part that the match is for becomes the value: the prefix, or the whole path where that was matched."""
    REGEX = "regex"
    """What `pattern` finds becomes the value, which may name its groups: `\\1`."""


@dataclass(frozen=True, slots=True)
class PathModifier:
    """The query stays as it is."""

    type: PathModifierType
    value: str
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class WeightedBackend:
    backend: Backend
    weight: int = 1
    """Its share of the sum of all weights; none if 0."""
    headers: HeaderModifier = HeaderModifier()
    host: str = ""
    """It is asked for this host; "" for the one that the request is for."""


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
    elsewhere: bool = True
    """Another endpoint is preferred to those that were tried."""
    other_localities: bool = False
    """Endpoints of the next priority are tried when those of the first have failed."""
    backoff: Duration | None = None
    """The longest pause before the first retry; None is Envoy's, 25 ms. It doubles each time, up to ten times that."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """Copies of requests, whose answers nobody waits for."""

    backend: Backend
    share: int = MILLION
    """Millionths of the requests."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    path: PathModifier | None = None
    host: str = ""
    """"" leaves it as it is."""


@dataclass(frozen=True, slots=True)
class Forward:
    """To one of the backends, by weight."""

    backends: tuple[WeightedBackend, ...]
    timeouts: Timeouts = Timeouts()
    retries: Retries | None = None
    rewrite: Rewrite = Rewrite()
    mirrors: tuple[Mirror, ...] = ()


@dataclass(frozen=True, slots=True)
class Redirect:
    """The answer says where to ask. What is not given is as in the request."""

    code: int
    scheme: str = ""
    host: str = ""
    port: int | None = None
    path: PathModifier | None = None


@dataclass(frozen=True, slots=True)
class DirectResponse:
    """The proxy answers itself."""

    status: int
    body: bytes = b""


Action = Forward | Redirect | DirectResponse


@dataclass(frozen=True, slots=True)
class Delay:
    time: Duration
    share: int
    """Millionths of the requests."""


@dataclass(frozen=True, slots=True)
class Abort:
    share: int
    """Millionths of the requests."""
    http_status: int | None = None
    grpc_status: int | None = None
    """The one that is not None is answered."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The delay comes first."""

    delay: Delay | None = None
    abort: Abort | None = None


@dataclass(frozen=True, slots=True)
class CORS:
    """Which pages of other origins may ask. Source: https://fetch.spec.whatwg.org/#http-cors-protocol"""

    origins: tuple[StringMatch, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Duration | None = None
    credentials: bool = False
    forward_unmatched: bool = True
    """A preflight of an origin that may not ask is left to the app."""


@dataclass(frozen=True, slots=True)
class HTTPRoute:
    name: str
    match: HTTPMatch
    action: Action
    ref: FieldRef | None = None
    """None for the plain route of a service, which nobody wrote."""
    headers: HeaderModifier = HeaderModifier()
    fault: Fault | None = None
    cors: CORS | None = None
    stat_prefix: str = ""
    """Its requests are counted under this name, too; "" is none."""
