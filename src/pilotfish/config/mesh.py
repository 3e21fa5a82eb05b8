"""The mesh configuration: Istio's `meshConfig`.

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from pilotfish.config.istio.destination_rule import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    LocalityLoadBalancerSetting,
    OutlierDetection,
    TCPKeepalive,
    ZoneAwareLoadBalancerSetting,
)
from pilotfish.config.istio.virtual_service import HTTPRetry
from pilotfish.config.kubernetes import Struct
from pilotfish.model import Duration
from pilotfish.model.identity import DEFAULT_TRUST_DOMAIN
from pilotfish.model.wellknown import ADMIN_PORT, ROOT_NAMESPACE, STATUS_PORT


class OutboundTrafficPolicy(Struct):
    mode: Literal["ALLOW_ANY", "REGISTRY_ONLY", "ALLOW_ANY_DYNAMIC_DNS"] = "ALLOW_ANY"
    tls: ClientTLSSettings | None = None
    """With ALLOW_ANY_DYNAMIC_DNS: requests for hosts that nobody has go over TLS, to port 443 if they name none.
    `ISTIO_MUTUAL` and `credentialName` leave them as they are, which is warned of."""


class InboundTrafficPolicy(Struct):
    mode: Literal["PASSTHROUGH", "LOCALHOST"] = "PASSTHROUGH"
    """LOCALHOST: sidecars call the ports to which Services lead at 127.0.0.1, in the place of the pod's own address."""


class DefaultTrafficPolicy(Struct):
    """Of calls to services, each as a whole where no DestinationRule says it."""

    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None


class TLSConfig(Struct):
    min_protocol_version: Literal["TLS_AUTO", "TLSV1_2", "TLSV1_3"] = "TLS_AUTO"
    """Of servers."""
    cipher_suites: tuple[str, ...] = ()
    ecdh_curves: tuple[str, ...] = ()


class LabelSelectorRequirement(Struct):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()
    """Of In and NotIn."""


class LabelSelector(Struct):
    """All of it must hold."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class MatchRule(Struct):
    namespace_selector: LabelSelector | None = None
    """Without it the rule fits no namespace."""


class VisibilityPolicy(Struct):
    visibility: Literal["UNSPECIFIED", "PUBLIC", "NAMESPACE", "NONE"] = "UNSPECIFIED"
    matching_rules: tuple[MatchRule, ...] = ()
    """All must fit the ServiceEntry's namespace; none fit every one."""


class ServiceEntryVisibility(Struct):
    default_visibility: Literal["UNSPECIFIED", "PUBLIC", "NAMESPACE", "NONE"] = "UNSPECIFIED"
    """Where no policy fits. PUBLIC, which is also what is meant by UNSPECIFIED: whom `exportTo` names."""
    policies: tuple[VisibilityPolicy, ...] = ()
    """The first that fits counts."""
    apply_to_sidecars: bool = False
    """Without it nothing comes of the rest: there is no ambient mode."""


class ProxyProtocolConfiguration(Struct):
    """It has no fields."""


class GatewayTopology(Struct):
    """What stands in front of every gateway."""

    num_trusted_proxies: int = 0
    """0 to 100."""
    forward_client_cert_details: Literal[
        "UNDEFINED", "SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"
    ] = "UNDEFINED"
    """SANITIZE_SET is also what is meant by UNDEFINED."""
    proxy_protocol: ProxyProtocolConfiguration | None = None


class Switch(Struct):
    disabled: bool = False


class ServerHeader(Struct):
    disabled: bool = False
    """The app's own passes."""
    value: str = "istio-envoy"


class OptionalHeader(Struct):
    enabled: bool = False


class SetCurrentClientCertDetails(Struct):
    subject: bool = True
    cert: bool = False
    chain: bool = False
    dns: bool = True
    uri: bool = True


class ProxyHeaders(Struct):
    """What proxies add to requests and answers; one for all proxies of the mesh."""

    forwarded_client_cert: Literal[
        "UNDEFINED", "SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"
    ] = "UNDEFINED"
    """What a sidecar's app is told in `x-forwarded-client-cert`; APPEND_FORWARD is also what is meant by UNDEFINED. Of
    gateways, `gatewayTopology` says it."""
    set_current_client_cert_details: SetCurrentClientCertDetails = SetCurrentClientCertDetails()
    request_id: Switch = Switch()
    server: ServerHeader = ServerHeader()
    attempt_count: Switch = Switch()
    envoy_debug_headers: Switch = Switch()
    preserve_http1_header_case: bool = msgspec.field(default=False, name="preserveHttp1HeaderCase")
    x_forwarded_host: OptionalHeader = OptionalHeader()
    x_forwarded_port: OptionalHeader = OptionalHeader()


class ProxyStatsMatcher(Struct):
    """What Envoy counts beside what it always does. `{pod_ip}` stands for each of the pod's addresses."""

    inclusion_prefixes: tuple[str, ...] = ()
    inclusion_suffixes: tuple[str, ...] = ()
    inclusion_regexps: tuple[str, ...] = ()
    """Of whole names; in the syntax of RE2."""


class RequestBodyCheck(Struct):
    """How much of a request's body the provider is shown."""

    max_request_bytes: int = 0
    allow_partial_message: bool = False
    """The beginning of a longer one; otherwise that is answered 413."""
    pack_as_bytes: bool = False
    """By gRPC: it is no text."""


class ExtAuthzGrpc(Struct):
    service: str = ""
    """`HOST`, or `NAMESPACE/HOST`, of a Service or ServiceEntry."""
    port: int = 0
    timeout: Duration | None = None
    """None: ten minutes, so that a DestinationRule can say less."""
    fail_open: bool = False
    """Requests pass while it does not answer."""
    clear_route_cache: bool = False
    """The route is looked for again with the headers that it adds."""
    status_on_error: str = ""
    """403 where it is not said."""
    include_request_body_in_check: RequestBodyCheck | None = None


class ExtAuthzHttp(Struct):
    service: str = ""
    port: int = 0
    timeout: Duration | None = None
    path_prefix: str = ""
    """What its requests' paths begin with."""
    fail_open: bool = False
    clear_route_cache: bool = False
    status_on_error: str = ""
    include_headers_in_check: tuple[str, ...] = ()
    """Of old: now `includeRequestHeadersInCheck`."""
    include_request_headers_in_check: tuple[str, ...] = ()
    """Names of headers may begin or end with a `*` in all of these lists."""
    include_additional_headers_in_check: dict[str, str] = {}
    include_request_body_in_check: RequestBodyCheck | None = None
    headers_to_upstream_on_allow: tuple[str, ...] = ()
    headers_to_downstream_on_deny: tuple[str, ...] = ()
    headers_to_downstream_on_allow: tuple[str, ...] = ()


class ExtensionProvider(Struct):
    """A service that AuthorizationPolicies with `action: CUSTOM` name."""

    name: str = ""
    envoy_ext_authz_grpc: ExtAuthzGrpc | None = None
    envoy_ext_authz_http: ExtAuthzHttp | None = None


class PathNormalization(Struct):
    normalization: Literal["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] = "DEFAULT"
    """BASE is also what is meant by DEFAULT: dots are resolved, and `\\` is `/`."""


class ConnectionSettings(Struct):
    profile: Literal["PROFILE_UNSPECIFIED", "SIDECAR", "EDGE"] = "PROFILE_UNSPECIFIED"
    """EDGE: at gateways, what is not said here is what Envoy advises for proxies at the edge."""
    listener_per_connection_buffer_limit_bytes: int | None = None
    """0 is no limit, here and in the next one."""
    cluster_per_connection_buffer_limit_bytes: int | None = None
    http_idle_timeout: Duration | None = None
    """Of connections; 0s is none, in all of these."""
    http_stream_idle_timeout: Duration | None = None
    http_request_timeout: Duration | None = None
    """Until all of a request has come."""
    http_request_headers_timeout: Duration | None = None
    http_drain_timeout: Duration | None = None
    http_max_connection_duration: Duration | None = None
    http_max_stream_duration: Duration | None = None
    http_max_concurrent_streams: int | None = None
    """Of an HTTP/2 connection; from 1."""
    http2_initial_stream_window_size: int | None = msgspec.field(default=None, name="http2InitialStreamWindowSize")
    """65535 or more, as in the next one."""
    http2_initial_connection_window_size: int | None = msgspec.field(
        default=None, name="http2InitialConnectionWindowSize"
    )
    http_headers_with_underscores_action: Literal[
        "HEADERS_WITH_UNDERSCORES_UNSPECIFIED",
        "HEADERS_WITH_UNDERSCORES_ALLOW",
        "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST",
        "HEADERS_WITH_UNDERSCORES_DROP_HEADER",
    ] = "HEADERS_WITH_UNDERSCORES_UNSPECIFIED"
    http_merge_slashes: bool | None = None
    """Before what `pathNormalization` says, as the next one."""
    http_path_with_escaped_slashes_action: Literal[
        "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED",
        "KEEP_UNCHANGED",
        "REJECT_REQUEST",
        "UNESCAPE_AND_REDIRECT",
        "UNESCAPE_AND_FORWARD",
    ] = "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED"
    global_downstream_connection_limit: int | None = None
    """Of one proxy, for pods that start after it; from 1."""


class ProxyConfig(Struct):
    """`defaultConfig`, and the annotation `proxy.istio.io/config` laid over it."""

    discovery_address: str = ""
    concurrency: int | None = None
    drain_duration: Duration = Duration(45 * 10**9)
    termination_drain_duration: Duration = Duration(5 * 10**9)
    proxy_admin_port: int = ADMIN_PORT
    status_port: int = STATUS_PORT
    interception_mode: Literal["REDIRECT", "TPROXY", "NONE"] = "REDIRECT"
    """How inbound connections are captured where a pod's annotation says nothing."""
    proxy_metadata: dict[str, str] = {}
    """`PILOTFISH_PROXY: node` has pods served by their machine's one proxy, unless they say otherwise;
    `PILOTFISH_INBOUND: http` has all requests read on both sides."""
    gateway_topology: GatewayTopology = GatewayTopology()
    proxy_headers: ProxyHeaders = ProxyHeaders()
    proxy_stats_matcher: ProxyStatsMatcher = ProxyStatsMatcher()
    connection_settings: ConnectionSettings = ConnectionSettings()
    """One for all proxies of the mesh, but for the last of its fields."""
    runtime_values: dict[str, str] = {}
    """Envoy's runtime flags, by name."""
    hold_application_until_proxy_starts: bool = False
    """Of a proxy that is a container like any other: in a cluster without native sidecars. Everywhere else an app
    always waits for its proxy."""


class MeshTLSConfig(Struct):
    """Of connections between workloads of the mesh."""

    min_protocol_version: Literal["TLS_AUTO", "TLSV1_2", "TLSV1_3"] = "TLS_AUTO"
    """TLS_AUTO is TLSV1_2."""
    cipher_suites: tuple[str, ...] = ()
    """Below TLS 1.3. None: those of ECDHE and AES-GCM, and AES-GCM with RSA, as in Istio."""
    ecdh_curves: tuple[str, ...] = ()


class MeshConfig(Struct):
    access_log_file: str = ""
    """Where each Envoy writes its access log; "" writes none. `/dev/stdout` is what `logs -c istio-proxy` shows."""
    access_log_format: str = ""
    access_log_encoding: Literal["TEXT", "JSON"] = "TEXT"
    outbound_traffic_policy: OutboundTrafficPolicy = OutboundTrafficPolicy()
    inbound_traffic_policy: InboundTrafficPolicy = InboundTrafficPolicy()
    default_config: ProxyConfig = ProxyConfig()
    proxy_http_port: int = 0
    """Where each sidecar is an HTTP proxy to its app, at 127.0.0.1; 0: nowhere."""
    connect_timeout: Duration = Duration(10 * 10**9)
    tcp_keepalive: TCPKeepalive | None = None
    """Of connections to services, where no DestinationRule says it."""
    h2_upgrade_policy: Literal["DO_NOT_UPGRADE", "UPGRADE"] = msgspec.field(
        default="DO_NOT_UPGRADE", name="h2UpgradePolicy"
    )
    """UPGRADE: ports that declare HTTP are called over HTTP/2, where no DestinationRule says it."""
    default_http_retry_policy: HTTPRetry | None = None
    """Of routes that say nothing of retries, in place of two tries of what has not reached the app."""
    default_inbound_http_retry_policy: HTTPRetry | None = None
    """From a sidecar to its app, in place of two more tries of what the app has not read; never on ports that declare
    gRPC. Of it `attempts`, `retryOn` and `backoff` count, as in Istio."""
    dns_refresh_rate: Duration = Duration(60 * 10**9)
    """How often a name is asked for whose answer does not say how long it holds."""
    protocol_detection_timeout: Duration = Duration(0)
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    """Where a DestinationRule says nothing of it."""
    zone_aware_lb_setting: ZoneAwareLoadBalancerSetting | None = None
    """Goes before `localityLbSetting`, where a DestinationRule says nothing of either."""
    default_traffic_policy: DefaultTrafficPolicy | None = None
    root_namespace: str = ROOT_NAMESPACE
    trust_domain: str = DEFAULT_TRUST_DOMAIN
    """What identities begin with: `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT`."""
    trust_domain_aliases: tuple[str, ...] = ()
    """Other trust domains whose workloads are taken for this one's."""
    enable_prometheus_merge: bool = True
    """An app's metrics are served with its proxy's, where its annotations say where they are."""
    enable_auto_mtls: bool = True
    """Clients speak mutual TLS with endpoints that have a proxy, where no DestinationRule says what to speak."""
    mesh_mtls: MeshTLSConfig = msgspec.field(default=MeshTLSConfig(), name="meshMTLS")
    tls_defaults: TLSConfig = TLSConfig()
    """Of TLS but the mesh's own, where a Gateway or a Sidecar says nothing of it; of calls: the suites and curves."""
    discovery_selectors: tuple[LabelSelector, ...] = ()
    """Of namespaces: in others, but for the root's, proxies are told of nothing. Pods run wherever they are."""
    extension_providers: tuple[ExtensionProvider, ...] = ()
    path_normalization: PathNormalization = PathNormalization()
    """What is done to paths before anything looks at them."""
    ingress_controller_mode: Literal["UNSPECIFIED", "OFF", "DEFAULT", "STRICT"] = "UNSPECIFIED"
    """Which Ingresses are served: none, those of the class and of none, or (also unspecified) those of the class."""
    ingress_class: str = "istio"
    ingress_selector: str = "ingressgateway"
    """The label `istio` of the gateway's pods."""
    default_service_export_to: tuple[str, ...] = ("*",)
    """Who sees a Service or ServiceEntry that does not say it."""
    service_entry_visibility: ServiceEntryVisibility | None = None
    """Who may see ServiceEntries at the most, whatever they say themselves."""
    inbound_cluster_stat_name: str = ""
    """What a sidecar counts its app's requests under, in the place of the cluster's name: with %SERVICE%,
    %SERVICE_NAME%, %SERVICE_FQDN%, %SERVICE_PORT%, %SERVICE_PORT_NAME% and %TARGET_PORT%."""
    outbound_cluster_stat_name: str = ""
    """The same of calls to services; with %SUBSET_NAME% in the place of the last."""
    verify_certificate_at_client: bool = True
    """False: servers' certificates are not looked at where a DestinationRule's `tls` names no CA."""
    default_virtual_service_export_to: tuple[str, ...] = ("*",)
    default_destination_rule_export_to: tuple[str, ...] = ("*",)

    @property
    def trust_domains(self) -> tuple[str, ...]:
        """The mesh's own, and then its aliases; each once."""
        return tuple(dict.fromkeys((self.trust_domain, *self.trust_domain_aliases)))

    def with_aliases(self, domains: Iterable[str]) -> MeshConfig:
        """As if these trust domains were aliases, too."""
        others = [domain for domain in dict.fromkeys(domains) if domain not in self.trust_domains]
        aliases = (*self.trust_domain_aliases, *others)
        return msgspec.structs.replace(self, trust_domain_aliases=aliases) if others else self
