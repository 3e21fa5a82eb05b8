"""DestinationRule.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pilotfish.config.istio.common import PortSelector
from pilotfish.config.kubernetes import Resource, Struct
from pilotfish.model import Duration, kinds


class TCPKeepalive(Struct):
    probes: int = 0
    """At most 127; 0 is the kernel's own."""
    time: Duration | None = None
    """1s to 32767s."""
    interval: Duration | None = None
    """1s to 32767s."""


class TCPSettings(Struct):
    max_connections: int | None = None
    connect_timeout: Duration | None = None
    tcp_keepalive: TCPKeepalive | None = None
    max_connection_duration: Duration | None = None
    idle_timeout: Duration | None = None


class HTTP2KeepAlive(Struct):
    interval: Duration | None = None
    """Both, or none."""
    timeout: Duration | None = None
    """Both, or none."""


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
    """Not beside `h2UpgradePolicy: UPGRADE`."""
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


class LocalityDistribution(Struct):
    from_: str = msgspec.field(default="", name="from")
    """Of a client: `region/zone/subzone`; the last parts may be `*`, or missing."""
    to: dict[str, int] = {}
    """Per cent of the requests, by locality; 100 together."""


class LocalityFailover(Struct):
    from_: str = msgspec.field(default="", name="from")
    """A client's region."""
    to: str = ""
    """The region whose endpoints come next, before all others."""


class LocalityLoadBalancerSetting(Struct):
    """Failover needs `outlierDetection`, as in Istio: without it no endpoint is ever found unhealthy."""

    distribute: tuple[LocalityDistribution, ...] = ()
    failover: tuple[LocalityFailover, ...] = ()
    """Not beside `distribute`."""
    failover_priority: tuple[str, ...] = ()
    """Labels, `KEY` or `KEY=VALUE`: endpoints that have more of them as the client has, from the first on, come first.
    Not beside `distribute`."""
    enabled: bool | None = None
    """True, which is also what is meant by none."""


class ZoneAwareLoadBalancerSetting(Struct):
    enabled: bool | None = None
    """True, which is also what is meant by none."""
    failover: tuple[LocalityFailover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    """As that of `localityLbSetting`, but not by region, zone or subzone; within each step regions count."""
    min_cluster_size: int | None = None
    """Of the endpoints in the region; with fewer all are asked alike. 6 where it is left out."""


class BackendUtilizationLB(Struct):
    """Endpoints that say they are busier get less: in the header `endpoint-load-metrics` of their answers (ORCA)."""

    weight_stabilization_period: Duration | None = None
    """10s where it is left out."""
    weight_expiration_period: Duration | None = None
    """3m where it is left out."""
    weight_update_period: Duration | None = None
    """1s where it is left out; 100ms at least."""
    error_utilization_penalty_percent: int = 0
    metric_names_for_computing_utilization: tuple[str, ...] = ()
    """In place of `application_utilization`; such as `named_metrics.foo`."""


class LoadBalancerSettings(Struct):
    simple: Literal["UNSPECIFIED", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST", "LEAST_CONN"] | None = None
    consistent_hash: ConsistentHashLB | None = None
    backend_utilization: BackendUtilizationLB | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    """In the place of meshConfig's."""
    zone_aware_lb_setting: ZoneAwareLoadBalancerSetting | None = None
    """A client asks its own zone as far as that has endpoints for it, then its region, then others; zones count where
    `proxyMetadata` has `ISTIO_META_ENABLE_SELF_DISCOVERY: "true"`. Not beside `localityLbSetting`."""
    warmup: Warmup | None = None
    """Of LEAST_REQUEST, which is also what is meant by none, and ROUND_ROBIN."""
    warmup_duration_secs: Duration | None = None
    """Of old: now `warmup`."""


class OutlierDetection(Struct):
    consecutive_5xx_errors: int | None = msgspec.field(default=None, name="consecutive5xxErrors")
    consecutive_gateway_errors: int | None = None
    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failures: int | None = None
    """Needs `splitExternalLocalOriginErrors`."""
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: int | None = None
    min_health_percent: int | None = None
    outlier_detection_http_error_codes: tuple[int, ...] = ()
    """Statuses that count as errors, and no others; 100 to 599."""
    failure_percentage_threshold: int | None = None
    """Of services with five endpoints or more, and among these of those with 50 requests or more in an `interval`."""


class ClientTLSSettings(Struct):
    """Paths are of files where the proxy runs."""

    mode: Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"] = "DISABLE"
    """`ISTIO_MUTUAL`: with the certificates that every proxy of the mesh has."""
    client_certificate: str = ""
    """A file where the proxy runs; `MUTUAL` needs it and `privateKey`."""
    private_key: str = ""
    ca_certificates: str = ""
    """A file, or `system`, which is also what is meant by none."""
    ca_crl: str = ""
    credential_name: str = ""
    """A Secret of the client's namespace; with `SIMPLE` also `configmap://NAMESPACE/NAME`, of the rule's namespace."""
    ca_cert_credential_name: str = ""
    """A Secret, or `configmap://NAMESPACE/NAME`, with whom to trust; goes before what `credentialName` says of it."""
    subject_alt_names: tuple[str, ...] = ()
    sni: str = ""
    insecure_skip_verify: bool = False
    """Leaves nothing to `caCertificates` and `subjectAltNames`: not beside them."""


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
    """Goes before `connectionPool.http.maxRetries`."""


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
    """For these workloads of its own namespace; not beside an `exportTo` that names others."""


class DestinationRule(Resource):
    kind = kinds.DESTINATION_RULE
    spec: DestinationRuleSpec
