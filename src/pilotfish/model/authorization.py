"""Who may do what at a workload: what AuthorizationPolicies come to.

    Authorization ── custom ──▶ External: requests that a service outside is asked about, first of all
                  ── audit, deny, allow ──▶ Verdict: rules in force, and rules on trial, in this order

All is resolved: a principal stands with the mesh's trust domain and each of its aliases, an account with its namespace.
The words are Istio's: https://istio.io/latest/docs/reference/config/security/authorization-policy/
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pilotfish.model.ref import FieldRef, ObjectRef
from pilotfish.model.values import Duration


class Attribute(StrEnum):
    """What of a request or a connection is looked at, in the order in which it is."""

    HOST = "hosts"
    METHOD = "methods"
    PATH = "paths"
    PORT = "ports"
    DESTINATION_IP = "destination.ip"
    SERVER_NAME = "connection.sni"
    METADATA = "experimental"
    """What another filter has found; the path is the filter's name and a key."""
    PRINCIPAL = "principals"
    """Of the peer's certificate, without `spiffe://`."""
    REQUEST_PRINCIPAL = "requestPrincipals"
    """Of the token: ISSUER/SUBJECT."""
    SERVICE_ACCOUNT = "serviceAccounts"
    """NAMESPACE/ACCOUNT, whole."""
    TRUST_DOMAIN = "trustDomains"
    NAMESPACE = "namespaces"
    REMOTE_IP = "remoteIpBlocks"
    """As X-Forwarded-For or the PROXY protocol tells it."""
    SOURCE_IP = "ipBlocks"
    """The other end of the connection."""
    HEADER = "request.headers"
    """The path is its name."""
    AUDIENCE = "request.auth.audiences"
    PRESENTER = "request.auth.presenter"
    CLAIM = "request.auth.claims"
    """The path leads into the token's claims."""

    @property
    def is_of_requests(self) -> bool:
        """A connection alone does not have it."""
        return self in _OF_REQUESTS

    @property
    def is_of_target(self) -> bool:
        """About what is called, not about who calls."""
        return self in _OF_TARGET


_OF_REQUESTS: Final = frozenset(
    {
        Attribute.HOST,
        Attribute.METHOD,
        Attribute.PATH,
        Attribute.REQUEST_PRINCIPAL,
        Attribute.HEADER,
        Attribute.AUDIENCE,
        Attribute.PRESENTER,
        Attribute.CLAIM,
    }
)
_OF_TARGET: Final = frozenset(
    {
        Attribute.HOST,
        Attribute.METHOD,
        Attribute.PATH,
        Attribute.PORT,
        Attribute.DESTINATION_IP,
        Attribute.SERVER_NAME,
        Attribute.METADATA,
    }
)


@dataclass(frozen=True, slots=True)
class Match:
    """One of the values, or none of them. `*` is any that is not empty; `x*` and `*x` are how others begin or end."""

    attribute: Attribute
    values: tuple[str, ...]
    path: tuple[str, ...] = ()
    negated: bool = False


Matches = tuple[Match, ...]
"""All of them; none: everything."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Holds for what one of `targets` and one of `callers` matches. None in one of them: it holds for nothing."""

    name: str
    """`ns[vm]-policy[webapp]-rule[0]`, as a refused request's log line names it."""
    ref: FieldRef
    targets: tuple[Matches, ...]
    callers: tuple[Matches, ...]


class Action(StrEnum):
    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


@dataclass(frozen=True, slots=True)
class Policy:
    """One object's rules."""

    ref: ObjectRef
    action: Action
    rules: tuple[Rule, ...]
    dry_run: bool = False
    provider: str = ""
    """Whom to ask, with CUSTOM."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policies of one action say together."""

    action: Action
    rules: tuple[Rule, ...] | None
    """None: no policy is in force. With ALLOW, none of them lets nothing pass."""
    trial: tuple[Rule, ...] | None = None
    """Of policies on trial: what they would do is told, and not done."""


@dataclass(frozen=True, slots=True)
class BodyCheck:
    """How much of a request's body the service is shown."""

    most: int
    partial: bool = False
    """The beginning of a longer one; otherwise that is refused."""
    as_bytes: bool = False


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """What an HTTP service is told, and what is taken over of its answer. Names of headers may have a `*`."""

    path_prefix: str = ""
    shown_headers: tuple[str, ...] = ()
    added_headers: tuple[tuple[str, str], ...] = ()
    to_upstream: tuple[str, ...] = ()
    to_client_allowed: tuple[str, ...] = ()
    to_client_denied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Provider:
    """A service that decides on requests."""

    name: str
    host: str
    port: int
    timeout: Duration
    fail_open: bool = False
    status_on_error: int = 0
    """0 is Envoy's own, 403."""
    body: BodyCheck | None = None
    clear_route_cache: bool = False
    http: HttpCheck | None = None
    """None: it is asked by gRPC."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """Nobody can be asked: what the rules cover is refused."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class External:
    """The requests that one provider is asked about."""

    provider: Provider | Unusable
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Authorization:
    """Of a workload, for requests or for connections alone."""

    custom: tuple[External, ...] = ()
    """By the provider's name."""
    verdicts: tuple[Verdict, ...] = ()
    """AUDIT, DENY, ALLOW; those of which there are policies."""


NOTHING: Final = Authorization()
EVERYTHING: Final[tuple[Matches, ...]] = ((),)
"""Of a rule's targets or callers."""
