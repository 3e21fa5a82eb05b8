"""What holds for the traffic of every proxy of a mesh, whichever API said so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pilotfish.model.identity import DEFAULT_TRUST_DOMAIN
from pilotfish.model.traffic_policy import ClientTLS, Keepalive
from pilotfish.model.values import Duration


@dataclass(frozen=True, slots=True)
class AccessLog:
    path: str
    """Where Envoy writes; `/dev/stdout` is its own output."""
    format: str = ""
    """Envoy's command operators, or a JSON object of them; "" for Istio's default."""
    json: bool = False


class ForwardedCertificate(StrEnum):
    """What a gateway tells the app of a client's certificate, in `x-forwarded-client-cert`."""

    NONE = "SANITIZE"
    OWN = "SANITIZE_SET"
    """What it sees itself, and not what the client says."""
    ADDED = "APPEND_FORWARD"
    """Both."""
    PASSED_ON = "FORWARD_ONLY"
    """What the client says, if it shows a certificate."""
    ALWAYS_PASSED_ON = "ALWAYS_FORWARD_ONLY"


@dataclass(frozen=True, slots=True)
class Edge:
    """What gateways believe of those in front of them."""

    trusted_proxies: int = 0
    """How many of the addresses in X-Forwarded-For."""
    certificate: ForwardedCertificate = ForwardedCertificate.OWN
    proxy_protocol: bool = False
    """Every connection begins with the PROXY protocol, which says whose it is."""


class PathNormalization(StrEnum):
    """What is done to a request's path before anything looks at it. Each does what the one before it does."""

    NONE = "NONE"
    BASE = "BASE"
    """Dots are resolved, unreserved characters decoded, and `\\` is `/`."""
    MERGE_SLASHES = "MERGE_SLASHES"
    DECODE_AND_MERGE_SLASHES = "DECODE_AND_MERGE_SLASHES"


@dataclass(frozen=True, slots=True)
class MutualSettings:
    """How workloads prove to each other who they are."""

    trust_domains: tuple[str, ...] = (DEFAULT_TRUST_DOMAIN,)
    """The mesh's own, and the others that are taken for it."""
    automatic: bool = True
    """Clients speak mutual TLS with whoever can, where no policy says what to speak."""
    lowest_version: str = "TLSv1_2"
    cipher_suites: tuple[str, ...] = ()
    """Below TLS 1.3; none is Istio's list."""
    curves: tuple[str, ...] = ()
    """None is Envoy's list."""


@dataclass(frozen=True, slots=True)
class Headers:
    """What every proxy adds to requests and answers of its own accord."""

    server: str = "istio-envoy"
    """In answers of apps and gateways; "" leaves the app's own."""
    request_id: bool = True
    """A request without one is given one."""
    attempt_count: bool = True
    debug: bool = True
    """`x-envoy-upstream-service-time` and others of its kind."""
    forwarded_host: bool = False
    """Which host was asked for, where it is rewritten."""
    forwarded_port: bool = False
    keeps_case: bool = False
    """HTTP/1.1 headers are passed on as they are written."""
    certificate: ForwardedCertificate = ForwardedCertificate.ADDED
    """What a sidecar tells its app of the client's."""
    certificate_parts: frozenset[str] = frozenset({"subject", "dns", "uri"})
    """Of `subject`, `cert`, `chain`, `dns` and `uri`."""


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """How a proxy bears with those who call it. None, and "", are what it does of itself."""

    listener_buffer: int | None = None
    """Bytes of a connection that wait for one of the two sides, as all of these; 0 is no limit."""
    cluster_buffer: int | None = None
    """Of connections to those whom it calls."""
    idle_timeout: Duration | None = None
    """Of connections; 0 is none, in all of these."""
    stream_idle_timeout: Duration | None = None
    request_timeout: Duration | None = None
    """Until all of a request has come."""
    request_headers_timeout: Duration | None = None
    drain_timeout: Duration | None = None
    max_connection_duration: Duration | None = None
    max_stream_duration: Duration | None = None
    max_concurrent_streams: int | None = None
    stream_window: int | None = None
    connection_window: int | None = None
    underscores: Literal["", "ALLOW", "REJECT_REQUEST", "DROP_HEADER"] = ""
    """What becomes of headers whose names have some."""
    merges_slashes: bool | None = None
    escaped_slashes: Literal[
        "", "KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD"
    ] = ""


@dataclass(frozen=True, slots=True)
class MeshSettings:
    access_log: AccessLog | None
    connect_timeout: Duration
    detection_timeout: Duration
    """How long a sniffed connection's first bytes are waited for; 0 is for ever."""
    dns_refresh: Duration
    """How often a name is asked for whose answer does not say how long it holds."""
    allow_any: bool
    looks_up: bool
    """With `allow_any`: requests for hosts that nobody has go where their hosts lead, not where they were going."""
    """What no service claims is let pass, rather than refused."""
    looked_up_tls: ClientTLS | None = None
    """How these requests are sent; None: in the clear."""
    http_proxy_port: int = 0
    """Where each sidecar is an HTTP proxy to its app; 0 is nowhere."""
    keepalive: Keepalive | None = None
    """Of connections to services, where their policy says nothing of it."""
    upgrade: bool = False
    """Ports that declare HTTP are called over HTTP/2, where their policy says nothing of it."""
    edge: Edge = Edge()
    at_sidecars: ConnectionSettings = ConnectionSettings()
    at_gateways: ConnectionSettings = ConnectionSettings()
    mutual: MutualSettings = MutualSettings()
    headers: Headers = Headers()
    to_loopback: bool = False
    """Apps are called at 127.0.0.1, in the place of their pods' addresses."""
    outbound_stat_name: str = ""
    """What calls are counted under, with words for the service's parts; "" is the cluster's name."""
    inbound_stat_name: str = ""
    paths: PathNormalization = PathNormalization.BASE
