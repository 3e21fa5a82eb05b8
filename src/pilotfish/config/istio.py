"""The Istio networking kinds, field by field as far as pilotfish uses them.

Source: https://istio.io/latest/docs/reference/config/networking/
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pilotfish.config.kubernetes import Resource, Struct
from pilotfish.model import Duration, kinds


class StringMatch(Struct):
    """Exactly one is set. `regex` is RE2 syntax and matches the whole value."""

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None


class PortSelector(Struct):
    number: int


class Destination(Struct):
    host: str
    subset: str = ""
    port: PortSelector | None = None


class HTTPMatchRequest(Struct):
    """All that is set must hold."""

    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: dict[str, StringMatch] = {}
    without_headers: dict[str, StringMatch] = {}
    query_params: dict[str, StringMatch] = {}
    ignore_uri_case: bool = False
    port: int = 0
    source_labels: dict[str, str] = {}
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()
    """Stand in for the object's. Labels and namespace of the source are then not looked at."""
    stat_prefix: str = ""


class HeaderOperations(Struct):
    set: dict[str, str] = {}
    add: dict[str, str] = {}
    remove: tuple[str, ...] = ()


class Headers(Struct):
    request: HeaderOperations = HeaderOperations()
    response: HeaderOperations = HeaderOperations()


class HTTPRouteDestination(Struct):
    destination: Destination
    weight: int = 0
    headers: Headers = Headers()


class HTTPRetry(Struct):
    attempts: int = 0
    per_try_timeout: Duration | None = None
    retry_on: str = ""
    retry_remote_localities: bool | None = None
    retry_ignore_previous_hosts: bool = True
    backoff: Duration | None = None


class RegexRewrite(Struct):
    """`rewrite` may name groups of `match`: `\\1`."""

    match: str = ""
    rewrite: str = ""


class HTTPRewrite(Struct):
    uri: str = ""
    authority: str = ""
    uri_regex_rewrite: RegexRewrite | None = None


class HTTPRedirect(Struct):
    uri: str = ""
    prefix_rewrite: str = ""
    authority: str = ""
    port: int | None = None
    derive_port: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = None
    scheme: str = ""
    redirect_code: int = 0


class HTTPBody(Struct):
    string: str | None = None
    encoded: str | None = msgspec.field(default=None, name="bytes")
    """In base64."""


class HTTPDirectResponse(Struct):
    status: int
    body: HTTPBody | None = None


class Percent(Struct):
    value: float = 0.0


class Delay(Struct):
    percentage: Percent | None = None
    percent: int = 0
    """Of old."""
    fixed_delay: Duration | None = None


class Abort(Struct):
    percentage: Percent | None = None
    http_status: int | None = None
    grpc_status: str | None = None


class HTTPFaultInjection(Struct):
    delay: Delay | None = None
    abort: Abort | None = None


class HTTPMirrorPolicy(Struct):
    destination: Destination
    percentage: Percent | None = None


class CorsPolicy(Struct):
    allow_origins: tuple[StringMatch, ...] = ()
    allow_origin: tuple[str, ...] = ()
    """Of old: whole origins, or `*`."""
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Duration | None = None
    allow_credentials: bool | None = None
    unmatched_preflights: Literal["UNSPECIFIED", "FORWARD", "IGNORE"] = "UNSPECIFIED"


class Delegate(Struct):
    name: str = ""
    namespace: str = ""
    """"" is that of the object."""


class HTTPRoute(Struct):
    """`match` entries are alternatives; none at all matches every request."""

    name: str = ""
    match: tuple[HTTPMatchRequest, ...] = ()
    route: tuple[HTTPRouteDestination, ...] = ()
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: Duration | None = None
    retries: HTTPRetry | None = None
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirror_percentage: Percent | None = None
    mirror_percent: int | None = None
    """Of old."""
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    cors_policy: CorsPolicy | None = None
    headers: Headers = Headers()


class RouteDestination(Struct):
    destination: Destination
    weight: int = 0


class TLSMatchAttributes(Struct):
    """All that is set must hold."""

    sni_hosts: tuple[str, ...] = ()
    destination_subnets: tuple[str, ...] = ()
    port: int = 0


class TLSRoute(Struct):
    """`match` entries are alternatives."""

    match: tuple[TLSMatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class L4MatchAttributes(Struct):
    """All that is set must hold."""

    destination_subnets: tuple[str, ...] = ()
    port: int = 0


class TCPRoute(Struct):
    """`match` entries are alternatives; none at all matches every connection."""

    match: tuple[L4MatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class VirtualServiceSpec(Struct):
    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    """Only `mesh`, which is also what is meant where there are none."""
    export_to: tuple[str, ...] = ()
    """Namespaces: `.` is the object's own, `~` none, `*` all, which is also what is meant where there is none."""
    http: tuple[HTTPRoute, ...] = ()
    tls: tuple[TLSRoute, ...] = ()
    tcp: tuple[TCPRoute, ...] = ()


class VirtualService(Resource):
    kind = kinds.VIRTUAL_SERVICE
    spec: VirtualServiceSpec


class TCPKeepalive(Struct):
    probes: int = 0
    time: Duration | None = None
    interval: Duration | None = None


class TCPSettings(Struct):
    max_connections: int | None = None
    connect_timeout: Duration | None = None
    tcp_keepalive: TCPKeepalive | None = None
    max_connection_duration: Duration | None = None
    idle_timeout: Duration | None = None


class HTTP2KeepAlive(Struct):
    interval: Duration | None = None
    timeout: Duration | None = None


class HTTPSettings(Struct):
    http1_max_pending_requests: int | None = None
    http2_max_requests: int | None = None
    max_requests_per_connection: int | None = None
    max_retries: int | None = None
    idle_timeout: Duration | None = None
    h2_upgrade_policy: Literal["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"] = msgspec.field(
        default="DEFAULT", name="h2UpgradePolicy"
    )
    use_client_protocol: bool = False
    max_concurrent_streams: int | None = None
    http2_keep_alive: HTTP2KeepAlive | None = msgspec.field(default=None, name="http2KeepAlive")


class ConnectionPoolSettings(Struct):
    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None


class CookieAttribute(Struct):
    name: str = ""
    value: str = ""


class HTTPCookie(Struct):
    name: str = ""
    path: str = ""
    ttl: Duration | None = None
    attributes: tuple[CookieAttribute, ...] = ()


class RingHash(Struct):
    minimum_ring_size: int = 0


class Maglev(Struct):
    table_size: int = 0


class ConsistentHashLB(Struct):
    """Exactly one key, and at most one algorithm; without one it is a ring."""

    http_header_name: str | None = None
    http_cookie: HTTPCookie | None = None
    use_source_ip: bool | None = None
    http_query_parameter_name: str | None = None
    ring_hash: RingHash | None = None
    maglev: Maglev | None = None
    minimum_ring_size: int = 0
    """Of old: now `ringHash`."""


class Warmup(Struct):
    duration: Duration | None = None
    minimum_percent: float | None = None
    aggression: float | None = None


class LoadBalancerSettings(Struct):
    simple: Literal["UNSPECIFIED", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST", "LEAST_CONN"] | None = None
    consistent_hash: ConsistentHashLB | None = None
    warmup: Warmup | None = None
    warmup_duration_secs: Duration | None = None
    """Of old: now `warmup`."""


class OutlierDetection(Struct):
    consecutive_5xx_errors: int | None = msgspec.field(default=None, name="consecutive5xxErrors")
    consecutive_gateway_errors: int | None = None
    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failures: int | None = None
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: int | None = None
    min_health_percent: int | None = None


class ClientTLSSettings(Struct):
    """Paths are of files where the proxy runs."""

    mode: Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"] = "DISABLE"
    client_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    credential_name: str = ""
    subject_alt_names: tuple[str, ...] = ()
    sni: str = ""
    insecure_skip_verify: bool = False


class PortTrafficPolicy(Struct):
    port: PortSelector
    connection_pool: ConnectionPoolSettings | None = None
    load_balancer: LoadBalancerSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None


class ProxyProtocol(Struct):
    version: Literal["V1", "V2"] = "V1"


class Tunnel(Struct):
    protocol: str = ""
    """CONNECT, which is also what is meant by none, or POST."""
    target_host: str = ""
    target_port: int = 0


class RetryBudget(Struct):
    percent: float | None = None
    min_retry_concurrency: int | None = None


class TrafficPolicy(Struct):
    connection_pool: ConnectionPoolSettings | None = None
    load_balancer: LoadBalancerSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    port_level_settings: tuple[PortTrafficPolicy, ...] = ()
    tunnel: Tunnel | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None


class Subset(Struct):
    name: str
    labels: dict[str, str] = {}
    traffic_policy: TrafficPolicy | None = None


class PodSelector(Struct):
    match_labels: dict[str, str] = {}


class DestinationRuleSpec(Struct):
    host: str
    traffic_policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: tuple[str, ...] = ()
    workload_selector: PodSelector | None = None


class DestinationRule(Resource):
    kind = kinds.DESTINATION_RULE
    spec: DestinationRuleSpec


class ServiceEntryPort(Struct):
    number: int
    name: str
    protocol: str = ""
    target_port: int = 0


class WorkloadEntrySpec(Struct):
    address: str = ""
    ports: dict[str, int] = {}
    labels: dict[str, str] = {}
    locality: str = ""
    weight: int = 0
    service_account: str = ""


class WorkloadEntryCondition(Struct):
    type: str = ""
    status: str = ""


class WorkloadEntryStatus(Struct):
    conditions: tuple[WorkloadEntryCondition, ...] = ()


class WorkloadEntry(Resource):
    kind = kinds.WORKLOAD_ENTRY
    spec: WorkloadEntrySpec
    status: WorkloadEntryStatus = WorkloadEntryStatus()


class WorkloadSelector(Struct):
    labels: dict[str, str] = {}


class ServiceEntrySpec(Struct):
    hosts: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    ports: tuple[ServiceEntryPort, ...] = ()
    location: Literal["MESH_EXTERNAL", "MESH_INTERNAL"] = "MESH_EXTERNAL"
    resolution: Literal["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN"] = "NONE"
    endpoints: tuple[WorkloadEntrySpec, ...] = ()
    workload_selector: WorkloadSelector | None = None
    """Pods and WorkloadEntries of its namespace in the place of `endpoints`."""
    subject_alt_names: tuple[str, ...] = ()
    export_to: tuple[str, ...] = ()
    """Only `*`."""


class ServiceEntry(Resource):
    kind = kinds.SERVICE_ENTRY
    spec: ServiceEntrySpec
