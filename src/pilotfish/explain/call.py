"""One connection or request, as far as Envoy's choices depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pilotfish.explain.filter_state import FilterState


def is_address(text: str) -> bool:
    """With a zone, too: an app may connect to one."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class Direction(StrEnum):
    INBOUND = "inbound"
    """Captured on its way to the app."""
    OUTBOUND = "outbound"
    """Captured on its way from the app."""
    GATEWAY = "gateway"
    """Sent to the proxy itself: nothing is captured."""


class Application(StrEnum):
    """What the client speaks; inside of TLS, if there is TLS."""

    HTTP = "http"
    HTTP2 = "http2"
    TCP = "tcp"
    """Anything that is no HTTP."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What a ClientHello shows, and what comes after it."""

    server_name: str = ""
    alpn: tuple[str, ...] = ()
    """What the client offers, best first."""
    of_mesh: bool = False
    """The client shows a certificate of the mesh, and wants to see one."""
    identity: str = ""
    """Whose that is, as its URI says: `spiffe://…`; "" where nobody knows."""
    secret: str = ""
    """What its proxy calls the client's certificate."""
    within: Tls | None = None
    """What is spoken inside is TLS once more."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    host: str = ""
    """As in the header: with its port, if the client wrote one."""
    path: str = "/"
    """With its query."""
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    scheme: str = "http"
    """As the client means it; a proxy that TLS ends at sees `https`."""
    claims: Mapping[str, object] | None = None
    """Of its token, where the proxy has verified one."""

    @property
    def is_grpc(self) -> bool:
        """Source: Envoy 1.40, source/common/grpc/common.cc, hasGrpcContentType."""
        kind, _, _ = self.headers.get("content-type", "").partition("+")
        return kind == "application/grpc"


@dataclass(frozen=True, slots=True)
class Call:
    direction: Direction
    address: str
    """Where the client meant to go."""
    port: int
    application: Application = Application.HTTP
    tls: Tls | None = None
    request: HttpRequest = HttpRequest()
    source: str = ""
    """The client's address; "" where nobody knows it."""
    source_port: int = 0
    peer: str | None = ""
    """Who called, as the certificate proves that the proxy was shown; "" for nobody, None where it is not known."""
    now: float = 0.0
    """Seconds since the epoch, by which a token may have expired; at 0 none has."""
    server_name: str = ""
    """That the proxy was asked for, where it looked."""
    state: FilterState = field(default_factory=dict)
    """What the proxy has noted down of the connection."""
    server_first: bool = False
    """The client says nothing until the server has."""
    went_to: str = ""
    """The cluster that a log says it went to, which does not say all that it asked; "" where nothing is known."""


class Failure(StrEnum):
    """Why a call comes no further."""

    NO_LISTENER = "no-listener"
    """Refused: nothing listens there."""
    NO_FILTER_CHAIN = "no-filter-chain"
    """Closed at once."""
    SEVERAL_FILTER_CHAINS = "multiple-filter-chains"
    """Two chains match equally, for which Envoy refuses the whole listener."""
    TLS = "tls-error"
    """Plaintext where TLS is terminated."""
    MUTUAL_TLS = "mtls-error"
    """One side wants a certificate of the mesh, and the other has another, or none."""
    PROTOCOL = "protocol-error"
    """What comes is no HTTP, and the chain reads HTTP."""
    NO_VIRTUAL_HOST = "no-virtual-host"
    """404: nobody has the host."""
    NO_ROUTE = "no-route"
    """404: the host has no route for the request."""
    TLS_REQUIRED = "tls-redirect"
    """301 to https."""
    UNAUTHENTICATED = "unauthenticated"
    """401: the token is not believed."""
    DENIED = "denied"
    """403, or closed: a policy does not let it pass."""
    UNKNOWN = "unknown"
    """It depends on what the call does not say, or on a matcher that is not understood here: no guess is made."""
