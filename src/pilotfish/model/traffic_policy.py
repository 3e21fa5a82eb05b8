"""How clients treat a service, between the users' APIs and Envoy: what DestinationRules come to.

    DestinationPolicy ─┬─ of the whole service ── PolicyByPort ── TrafficPolicy
                       └─ subsets ── Subset ───── PolicyByPort ── TrafficPolicy

All is resolved: what holds for a port of a subset stands in one TrafficPolicy, whoever said it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pilotfish.model.credential import is_config_map
from pilotfish.model.ref import ObjectRef
from pilotfish.model.service import Locality
from pilotfish.model.values import Duration


class LoadBalancer(StrEnum):
    LEAST_REQUEST = "LEAST_REQUEST"
    ROUND_ROBIN = "ROUND_ROBIN"
    RANDOM = "RANDOM"
    RING_HASH = "RING_HASH"
    MAGLEV = "MAGLEV"
    UTILIZATION = "UTILIZATION"
    """By turns, and more rarely where an endpoint says that it is busy."""
    PASSTHROUGH = "PASSTHROUGH"
    """The address that the client chose, whichever that is."""


@dataclass(frozen=True, slots=True)
class Cookie:
    """By which a client is known again; the proxy gives one to a client that has none, if `ttl` says for how long."""

    name: str
    path: str = ""
    ttl: Duration | None = None
    """0 is until the client ends its session."""
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class HashKey:
    """What is equal of the requests that go to the same endpoint. Exactly one is set."""

    header: str = ""
    query_param: str = ""
    cookie: Cookie | None = None
    source_ip: bool = False


@dataclass(frozen=True, slots=True)
class ConsistentHash:
    """Of RING_HASH and MAGLEV."""

    key: HashKey | None = None
    """None: nothing, so that any endpoint will do."""
    size: int | None = None
    """The least entries of the ring, or those of the table. None is Envoy's default."""


@dataclass(frozen=True, slots=True)
class Utilization:
    """Of UTILIZATION; None is Envoy's default."""

    settles: Duration | None = None
    """For so long what a new endpoint says does not count."""
    expires: Duration | None = None
    """So long what an endpoint has said counts."""
    updates: Duration | None = None
    error_penalty: float = 0
    """The share of errors, so many times, is added to the utilization."""
    metrics: tuple[str, ...] = ()
    """By name, in place of `application_utilization`; the largest counts."""


@dataclass(frozen=True, slots=True)
class Warmup:
    """A new endpoint gets less at first. Only with LEAST_REQUEST and ROUND_ROBIN."""

    duration: Duration
    minimum_percent: float = 10
    aggression: float = 1
    """1: more by the same amount with time; higher: more at first."""


class UpstreamProtocol(StrEnum):
    DECLARED = "DECLARED"
    """What the service's port says, or the mesh makes of it; where it says nothing, the client's."""
    NOT_UPGRADED = "NOT_UPGRADED"
    """The same, whatever the mesh makes of it."""
    HTTP2 = "HTTP2"
    CLIENT = "CLIENT"
    """The one in which the request came."""


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Of the kernel's TCP connections; None is the kernel's own."""

    probes: int | None = None
    time: Duration | None = None
    interval: Duration | None = None


@dataclass(frozen=True, slots=True)
class HTTP2Keepalive:
    interval: Duration
    timeout: Duration


@dataclass(frozen=True, slots=True)
class ConnectionPool:
    """Limits of each proxy by itself; None is no limit, and the mesh's own `connect_timeout`."""

    max_connections: int | None = None
    connect_timeout: Duration | None = None
    max_pending_requests: int | None = None
    """That wait for a connection."""
    max_requests: int | None = None
    """That are under way."""
    max_retries: int | None = None
    """That are under way."""
    max_requests_per_connection: int | None = None
    idle_timeout: Duration | None = None
    """Of an HTTP connection; 0 is never."""
    max_connection_duration: Duration | None = None
    max_concurrent_streams: int | None = None
    """Of one HTTP/2 connection."""
    protocol: UpstreamProtocol = UpstreamProtocol.DECLARED
    keepalive: Keepalive | None = None
    http2_keepalive: HTTP2Keepalive | None = None


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """In place of `max_retries`: as many retries as a share of the requests under way."""

    percent: float
    min_concurrency: int
    """So many are allowed in any case."""


@dataclass(frozen=True, slots=True)
class OutlierDetection:
    """When an endpoint is left alone for a while. None is Envoy's default."""

    consecutive_5xx_errors: int
    """So many in a row eject it; 0 is never."""
    consecutive_gateway_errors: int
    """The same for 502, 503 and 504 alone."""
    split_local_errors: bool = False
    """What fails before a server answers is counted by itself."""
    consecutive_local_failures: int | None = None
    """So many of these in a row eject it."""
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: int | None = None
    min_health_percent: int = 0
    """With fewer healthy endpoints than this the ejected ones are used all the same."""
    failure_percent: int | None = None
    """So large a share of errors in an interval ejects it, one after another or not; None is never."""
    error_codes: tuple[int, ...] = ()
    """The statuses that are errors; none of them named: 5xx."""


@dataclass(frozen=True, slots=True)
class ClientCredential:
    """A Secret of the client's namespace, in place of files; or, where it shows nothing, a ConfigMap of any."""

    name: str
    shows: bool
    """The client shows the certificate in it."""
    trusts: bool
    """The server's certificate must be from those in it; else it is not looked at."""
    authority: str = ""
    """Another one, in which those are whom it trusts; "" for the same."""

    @property
    def trusted(self) -> str:
        return self.authority or self.name

    @property
    def is_public(self) -> bool:
        """Every client may have what is in it."""
        return not self.shows and is_config_map(self.trusted)


@dataclass(frozen=True, slots=True)
class ClientTLS:
    """The client's proxy speaks TLS with the service. Paths are of files where that proxy runs."""

    ca_certificates: str | None = None
    """Whom the server's certificate must be from; None: it is not looked at, or `credential` says it."""
    crl: str = ""
    certificate: str = ""
    """The client's own, with its `private_key`; "" shows none."""
    private_key: str = ""
    server_name: str = ""
    """Asked for in the handshake; "" is the host that the request is for."""
    subject_alt_names: tuple[str, ...] = ()
    """One of these must stand in the server's certificate; none: the host that the request is for, if no server name
    is given either."""
    credential: ClientCredential | None = None
    cipher_suites: tuple[str, ...] = ()
    """Up to TLS 1.2; none are Envoy's."""
    curves: tuple[str, ...] = ()

    @property
    def verifies(self) -> bool:
        """The server's certificate is looked at."""
        return self.credential.trusts if self.credential is not None else self.ca_certificates is not None


@dataclass(frozen=True, slots=True)
class MeshTLS:
    """The client's proxy speaks TLS with its own certificate of the mesh."""

    required: bool = False
    """With every endpoint; else with those that can."""
    server_name: str = ""
    """"" is the cluster's: `outbound_.80_._.a.vm.svc.cluster.local`."""
    subject_alt_names: tuple[str, ...] = ()
    """Who the server may be; none: the service's accounts."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """TCP goes through an HTTP proxy: the service."""

    target: str
    """HOST:PORT that the proxy is to call."""
    post: bool = False
    """Opened with POST, not with CONNECT."""


@dataclass(frozen=True, slots=True)
class Passing:
    """How TCP connections are passed on. None is Envoy's default."""

    idle_timeout: Duration | None = None
    """0 is never."""
    max_duration: Duration | None = None
    tunnel: Tunnel | None = None


@dataclass(frozen=True, slots=True)
class Distribution:
    """Where the requests of the clients of some locality go."""

    source: Locality
    """A part that is `*` or "" is any."""
    shares: tuple[tuple[Locality, int], ...]
    """Per cent, the most exact locality first. What matches none gets nothing."""


@dataclass(frozen=True, slots=True)
class ZoneBalancing:
    """Of its region a client asks its own zone, and others as far as that has too few endpoints for its clients."""

    least: int | None = None
    """With fewer endpoints in the region all are asked alike. None is Envoy's default."""


@dataclass(frozen=True, slots=True)
class LocalityBalancing:
    """Endpoints are told apart by where they are, as seen from the client. `distribute`, or an order of priorities."""

    distribute: tuple[Distribution, ...] = ()
    fails_over: bool = False
    """The nearest endpoints get all, as long as enough of them are healthy."""
    failover: tuple[tuple[str, str], ...] = ()
    """(the client's region, the one that comes next)."""
    labels: tuple[tuple[str, str | None], ...] = ()
    """What is near, in place of localities: the first labels that are as the client's, or have the value given here.
    With `failover`, or `zones`, localities tell those apart that are equally near."""
    zones: ZoneBalancing | None = None
    """Regions tell near from far; what lies within one of them does not."""


@dataclass(frozen=True, slots=True)
class TrafficPolicy:
    load_balancer: LoadBalancer = LoadBalancer.LEAST_REQUEST
    consistent_hash: ConsistentHash | None = None
    utilization: Utilization | None = None
    warmup: Warmup | None = None
    connection_pool: ConnectionPool = ConnectionPool()
    passing: Passing | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLS | None = None
    mesh_tls: MeshTLS | None = MeshTLS()
    """None, where `tls` is None too: nothing is encrypted."""
    locality: LocalityBalancing | None = None
    """None: it does not matter where an endpoint is."""
    states_locality: bool = False
    """That is a rule's own word, and counts before what the service asks for."""
    proxy_protocol: Literal["", "V1", "V2"] = ""
    """Each connection begins with who the client is, in this version of the PROXY protocol."""
    retry_budget: RetryBudget | None = None


@dataclass(frozen=True, slots=True)
class PolicyByPort:
    default: TrafficPolicy = TrafficPolicy()
    ports: tuple[tuple[int, TrafficPolicy], ...] = ()
    """For the ports that have one of their own, by number."""

    def of(self, port: int) -> TrafficPolicy:
        return next((policy for number, policy in self.ports if number == port), self.default)


@dataclass(frozen=True, slots=True)
class Subset:
    name: str
    labels: tuple[tuple[str, str], ...]
    """Of its endpoints; sorted."""
    policy: PolicyByPort


@dataclass(frozen=True, slots=True)
class DestinationPolicy:
    """What clients apply to one host."""

    refs: tuple[ObjectRef, ...] = ()
    """Who says so, the most important first; none where nobody does."""
    policy: PolicyByPort = PolicyByPort()
    subsets: tuple[Subset, ...] = ()
    """By name."""

    def subset(self, name: str) -> Subset | None:
        return next((s for s in self.subsets if s.name == name), None)

    def labels(self, subset: str) -> tuple[tuple[str, str], ...]:
        """Which endpoints belong to a subset; all of them, if the name is ""."""
        found = self.subset(subset)
        return found.labels if found is not None else ()

    def of(self, subset: str, port: int) -> TrafficPolicy:
        """What holds for a port of a subset; of the whole service, if the name is ""."""
        found = self.subset(subset)
        return (found.policy if found is not None else self.policy).of(port)

    def all(self) -> tuple[TrafficPolicy, ...]:
        """Of all its ports and subsets."""
        parts = (self.policy, *(subset.policy for subset in self.subsets))
        return tuple(policy for part in parts for policy in (part.default, *(p for _, p in part.ports)))
