"""Envoy's bootstrap: who it is, where discovery is, and the few listeners that do not come over xDS.

`bootstrap(spec)` is a pure function that gives a JSON-able dict. It loads no protobuf.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/config/bootstrap/v3/bootstrap.proto
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pilotfish.envoy.naming import FILES, LOCAL_CLUSTER, MESH_ROOTS, SDS_CLUSTER, WORKLOAD_CERTIFICATE
from pilotfish.model import Proxy
from pilotfish.model.addresses import is_ip
from pilotfish.model.proxy import CERTIFIED, SELF_DISCOVERY, ProxyType
from pilotfish.model.service import Locality
from pilotfish.model.wellknown import (
    ADMIN_PORT,
    FILES_SOCKET,
    HEALTH_PORT,
    INBOUND_PORT,
    LARGEST_REGEX_PROGRAM,
    PROMETHEUS_PORT,
    PROXY_DNS_PORT,
    STATUS_PORT,
    XDS_PORT,
)

_STATS_PREFIXES: Final = ("cluster_manager", "listener_manager", "server", "cluster.xds-grpc")
_STATS_SUFFIXES: Final = (
    "downstream_cx_active",
    f"_{INBOUND_PORT}.downstream_cx_total",
    f"_{INBOUND_PORT}.ssl.handshake",
    f"_{INBOUND_PORT}.ssl.no_certificate",
    f"_{INBOUND_PORT}.ssl.connection_error",
    f"_{INBOUND_PORT}.ssl.fail_verify_no_cert",
    f"_{INBOUND_PORT}.ssl.fail_verify_error",
)
"""What is counted when nothing else is asked for: Istio's own choice. Each further stat costs memory in every pod.
`downstream_cx_active` tells the agent when the last connection has drained, the others how many came by mutual TLS."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Statistics beside those that there always are, by the names that Envoy has for them. `{pod_ip}` stands for each
    of the pod's addresses."""

    prefixes: Sequence[str] = ()
    suffixes: Sequence[str] = ()
    expressions: Sequence[str] = ()
    """RE2, of whole names."""


_NOTHING_MORE: Final = Counted()


@dataclass(frozen=True, slots=True)
class BootstrapSpec:
    """One sidecar's share of its bootstrap."""

    proxy: Proxy
    discovery_address: str
    """An IP address, without a port; or a DNS name, which Envoy asks the machine's own resolvers for, time and again:
    its agent answers for the mesh, and has nothing to say before discovery has answered."""
    discovery_port: int = XDS_PORT
    annotations: Mapping[str, str] = field(default_factory=dict)
    service_account: str = "default"
    workload_name: str = ""
    """The Deployment's name; "" for a pod that stands alone."""
    owner: str = ""
    """Such as `kubernetes://apis/apps/v1/namespaces/vm/deployments/webapp`."""
    cluster_id: str = "Kubernetes"
    version: str = ""
    """The version of the agent, ISTIO_VERSION in the metadata."""
    interception_mode: str = "REDIRECT"
    proxy_config: Mapping[str, Any] = field(default_factory=dict)
    """`defaultConfig` with the pod's own `proxy.istio.io/config` laid over it, in JSON form."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Further node metadata: `proxyMetadata`, ISTIO_META_* variables."""
    connection_limit: int | None = None
    """How many connections it takes at once; None is no limit. What asks for its readiness does not count."""
    memory_limit: int | None = None
    """Bytes that it may have before it is killed; None is no limit."""
    counted: Counted = _NOTHING_MORE
    runtime: Mapping[str, str] = field(default_factory=dict)
    """Envoy's flags, by name."""
    admin_port: int = ADMIN_PORT
    status_port: int = STATUS_PORT
    """The agent's, on loopback; readiness is asked there."""
    ipv6: bool = True
    """Whether the static listeners take IPv6 too."""
    sds_socket: str = ""
    """Where the workload's certificate comes from: a Unix socket's path, of 107 bytes at the most. "": it has none."""
    discovery_name: str = ""
    """What discovery's certificate must say: it is spoken to over TLS. "" is plaintext."""
    discovery_sds_socket: str = ""
    """Where the certificate comes from that is shown to discovery."""

    @property
    def node_cluster(self) -> str:
        """`app.namespace`, as Istio names a proxy's service cluster."""
        proxy = self.proxy
        return f"{proxy.labels.get('app') or self.workload_name or proxy.name}.{proxy.namespace}"


def bootstrap(spec: BootstrapSpec) -> dict[str, Any]:
    """The whole bootstrap, ready to be written as JSON."""
    return {
        "node": _node(spec),
        "layered_runtime": _runtime(spec.runtime),
        "overload_manager": _overload(spec.connection_limit, spec.memory_limit),
        "typed_dns_resolver_config": _dns_resolver(),
        "stats_config": _stats(spec.counted, spec.proxy),
        "admin": {"address": _address("127.0.0.1", spec.admin_port)},
        "dynamic_resources": _dynamic_resources(),
        **({"cluster_manager": {"local_cluster_name": LOCAL_CLUSTER}} if spec.proxy.discovers_itself else {}),
        "static_resources": {
            "clusters": [
                _static_cluster("prometheus_stats", _address("127.0.0.1", spec.admin_port)),
                _static_cluster("agent", _address("127.0.0.1", spec.status_port)),
                _static_cluster(FILES, {"pipe": {"path": FILES_SOCKET}}),
                _discovery_cluster(spec),
                *_sds_clusters(spec),
                *([_local_cluster()] if spec.proxy.discovers_itself else []),
            ],
            "listeners": [
                _static_listener(spec, "stats", PROMETHEUS_PORT, "/stats/prometheus", "prometheus_stats"),
                _static_listener(spec, "agent", HEALTH_PORT, "/healthz/ready", "agent"),
            ],
        },
    }


def _dns_resolver() -> dict[str, Any]:
    """c-ares asking the agent, whatever /etc/resolv.conf says."""
    return {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            "resolvers": [_address("127.0.0.1", PROXY_DNS_PORT)],
            "dns_resolver_options": {"no_default_search_domain": True},
        },
    }


def _node(spec: BootstrapSpec) -> dict[str, Any]:
    at = spec.proxy.locality
    locality = {"region": at.region, "zone": at.zone, "sub_zone": at.sub_zone}
    node = {"id": spec.proxy.id, "cluster": spec.node_cluster, "metadata": _metadata(spec)}
    return {**node, "locality": {name: part for name, part in locality.items() if part}} if at != Locality() else node


def _metadata(spec: BootstrapSpec) -> dict[str, Any]:
    """Source: https://istio.io/latest/docs/reference/config/annotations/ and Istio's node metadata."""
    known = {
        "NAME": spec.proxy.name,
        "NAMESPACE": spec.proxy.namespace,
        "LABELS": dict(spec.proxy.labels),
        "ANNOTATIONS": dict(spec.annotations),
        "INSTANCE_IPS": ",".join(spec.proxy.addresses),
        "SERVICE_ACCOUNT": spec.service_account,
        "CLUSTER_ID": spec.cluster_id,
        "INTERCEPTION_MODE": spec.interception_mode,
        "ISTIO_VERSION": spec.version,
        "WORKLOAD_NAME": spec.workload_name,
        "OWNER": spec.owner,
        "PROXY_CONFIG": dict(spec.proxy_config),
        CERTIFIED: "true" if spec.sds_socket else "",
        SELF_DISCOVERY: "true" if spec.proxy.discovers_itself else "",
    }
    return {**spec.metadata, **{k: v for k, v in known.items() if v or k in ("LABELS", "PROXY_CONFIG")}}


def _runtime(stated: Mapping[str, str]) -> dict[str, Any]:
    flags = {
        # Envoy's own limit, 100, refuses many a regular expression that Istio, with this one, accepts.
        "re2.max_program_size.error_level": LARGEST_REGEX_PROGRAM,
        # A path's fragment is dropped before anything looks at it, as in Istio; else such a request is answered 400.
        "envoy.reloadable_features.http_reject_path_with_fragment": False,
        **{name: _flag(value) for name, value in stated.items()},
    }
    static = {"name": "global config", "static_layer": flags}
    return {"layers": [static, {"name": "admin", "admin_layer": {}}]}


def _flag(text: str) -> bool | float | str:
    """As Envoy would read it from a file."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


def _overload(connections: int | None, memory: int | None) -> dict[str, Any]:
    # A connection limit must be set, else Envoy warns at each start; this one is Istio's "no limit".
    monitor = "envoy.resource_monitors.global_downstream_max_connections"
    config = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    limit = {"@type": f"type.googleapis.com/{config}", "max_active_downstream_connections": connections or _NO_LIMIT}
    monitors = [{"name": monitor, "typed_config": limit}]
    if memory is None:
        return {"resource_monitors": monitors}
    heap = "envoy.resource_monitors.fixed_heap"
    fixed = "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig"
    bound = {"@type": f"type.googleapis.com/{fixed}", "max_heap_size_bytes": memory}
    at = {"name": heap, "threshold": {"value": _FULL}}
    return {
        "refresh_interval": "1s",
        "resource_monitors": [*monitors, {"name": heap, "typed_config": bound}],
        "actions": [{"name": "envoy.overload_actions.shrink_heap", "triggers": [at]}],
    }


_NO_LIMIT: Final = 2147483647
_FULL: Final = 0.9
"""Of its limit, from which on it gives memory back that it keeps for itself. Nobody's request is refused for that.
Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/operations/overload_manager/overload_manager"""


def _stats(counted: Counted, proxy: Proxy) -> dict[str, Any]:
    def each(patterns: Sequence[str]) -> Iterator[str]:
        for pattern in patterns:
            yield from dict.fromkeys(pattern.replace("{pod_ip}", address) for address in proxy.addresses)

    patterns = [
        *({"prefix": p} for p in (*_STATS_PREFIXES, *each(counted.prefixes))),
        *({"suffix": s} for s in (*_STATS_SUFFIXES, *each(counted.suffixes))),
        _ROUTES,
        *({"safe_regex": {"regex": r}} for r in each(counted.expressions)),
    ]
    tags = {**_STATS_TAGS, **(_OF_A_MACHINE if proxy.type is ProxyType.NODE else {})}
    return {
        "use_all_default_tags": False,
        "stats_tags": [{"tag_name": name, "regex": regex} for name, regex in tags.items()],
        "stats_matcher": {"inclusion_list": {"patterns": patterns}},
    }


_ROUTES: Final = {"safe_regex": {"regex": r"vhost\..+\.route\..+"}}
"""Routes have counters where a VirtualService names them (`statPrefix`), and there alone."""
_STATS_TAGS: Final = {
    # An alt_stat_name ends with ";", which no host name holds: the name of a cluster ends there, dots and all.
    "cluster_name": r"^cluster\.(([^;]+?)(?:;\.|\.(?=[^;]*$)))",
    "tcp_prefix": r"^tcp\.((.*?)\.)\w+?$",
    "response_code": r"_rq(_(\d{3}))$",
    "response_code_class": r"_rq(_(\dxx))$",
    "http_conn_manager_prefix": r"^http\.(([^;]+?)(?:;\.|\.(?=[^;]*$)))",
    "listener_address": r"^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)",
}
"""The tags that Istio's dashboards group by."""
_OF_A_MACHINE: Final = {"listener_address": r"^listener\.(([^;]+?_\d+)\.)"}
"""Its listeners in pods are counted by the pods' names (`counted_as`)."""


_ADS: Final = {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
"""0s: wait for discovery however long it takes, rather than start with no listeners after 15 s."""


def _local_cluster() -> dict[str, Any]:
    """It must be here: Envoy wants it when it starts. Source:
    https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/upstream/load_balancing/zone_aware"""
    listed = {"service_name": LOCAL_CLUSTER, "eds_config": _ADS}
    return {"name": LOCAL_CLUSTER, "type": "EDS", "connect_timeout": "0.250s", "eds_cluster_config": listed}


def _dynamic_resources() -> dict[str, Any]:
    return {
        "lds_config": _ADS,
        "cds_config": _ADS,
        "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [
                {"envoy_grpc": {"cluster_name": "xds-grpc", "retry_policy": {"retry_back_off": _RECONNECT}}}
            ],
        },
    }


_RECONNECT: Final = {"base_interval": "0.1s", "max_interval": "1s"}
"""Envoy's own go up to 30 s, for which a proxy would not hear of a discovery that is back. Each is a random part of one
that doubles. Source:
https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/config/core/v3/grpc_service.proto#config-core-v3-grpcservice-envoygrpc
"""


def _discovery_cluster(spec: BootstrapSpec) -> dict[str, Any]:
    return {
        **_static_cluster("xds-grpc", _address(spec.discovery_address, spec.discovery_port)),
        **({} if is_ip(spec.discovery_address) else _NAMED),
        **_discovery_tls(spec),
        "connect_timeout": "1s",
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 300}},
        # A discovery that vanished without a FIN (its namespace deleted) is noticed by this ping alone.
        **_http2({"connection_keepalive": {"interval": "30s", "timeout": "10s"}}),
    }


_NAMED: Final = {
    "type": "STRICT_DNS",
    "respect_dns_ttl": True,
    "dns_refresh_rate": "5s",
    "dns_failure_refresh_rate": {"base_interval": "0.2s", "max_interval": "1s"},
    "dns_lookup_family": "ALL",
    "typed_dns_resolver_config": {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        },
    },
}
"""By /etc/resolv.conf, its search list included, until the name is there and whenever it leads elsewhere.
Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/upstream/service_discovery#strict-dns"""


def _sds_clusters(spec: BootstrapSpec) -> Iterator[dict[str, Any]]:
    sockets = {SDS_CLUSTER: spec.sds_socket, _discovery_sds(spec): spec.discovery_sds_socket}
    for name, socket in sockets.items():
        if socket:
            yield {**_static_cluster(name, {"pipe": {"path": socket}}), **_http2({})}


def _discovery_sds(spec: BootstrapSpec) -> str:
    """The cluster with the certificate that is shown to discovery: as a rule, it is the workload's."""
    return SDS_CLUSTER if spec.discovery_sds_socket == spec.sds_socket else "discovery-sds"


def _discovery_tls(spec: BootstrapSpec) -> dict[str, Any]:
    """Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/transport_sockets/tls/v3/tls.proto"""
    name, cluster = spec.discovery_name, _discovery_sds(spec)
    if not name:
        return {}
    tls = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    named = {"san_type": "DNS", "matcher": {"exact": name}}
    context = {
        "@type": f"type.googleapis.com/{tls}",
        "sni": name,
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificate_sds_secret_configs": [_secret(WORKLOAD_CERTIFICATE, cluster)],
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": [named]},
                "validation_context_sds_secret_config": _secret(MESH_ROOTS, cluster),
            },
        },
    }
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context}}


def _secret(name: str, cluster: str) -> dict[str, Any]:
    service = {"envoy_grpc": {"cluster_name": cluster, "retry_policy": {"retry_back_off": _RECONNECT}}}
    source = {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [service],
    }
    return {"name": name, "sds_config": {"resource_api_version": "V3", "api_config_source": source}}


def _http2(options: dict[str, Any]) -> dict[str, Any]:
    protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    explicit = {"http2_protocol_options": options}
    of_type = {"@type": f"type.googleapis.com/{protocol}", "explicit_http_config": explicit}
    return {"typed_extension_protocol_options": {protocol: of_type}}


def _static_cluster(name: str, address: dict[str, Any]) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": address}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "0.250s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _static_listener(spec: BootstrapSpec, prefix: str, port: int, path: str, cluster: str) -> dict[str, Any]:
    manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = "envoy.extensions.filters.http.router.v3.Router"
    route = {"match": {"path": path}, "route": {"cluster": cluster}}
    # That of a machine would be handed what its pods send to this port, wherever to.
    is_machines = spec.proxy.type is ProxyType.NODE
    listener: dict[str, Any] = {
        "name": f"static-{prefix}",
        "ignore_global_conn_limit": True,
        "address": _address("127.0.0.1" if is_machines else "0.0.0.0", port),
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": {
                            "@type": f"type.googleapis.com/{manager}",
                            "stat_prefix": prefix,
                            "route_config": {
                                "virtual_hosts": [{"name": "backend", "domains": ["*"], "routes": [route]}]
                            },
                            "http_filters": [
                                {
                                    "name": "envoy.filters.http.router",
                                    "typed_config": {"@type": f"type.googleapis.com/{router}"},
                                }
                            ],
                        },
                    }
                ]
            }
        ],
    }
    if spec.ipv6 and not is_machines:
        listener["additional_addresses"] = [{"address": _address("::", port)}]
    return listener


def _address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}
