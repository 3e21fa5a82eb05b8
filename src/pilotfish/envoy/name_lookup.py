"""Names that Envoy looks up itself: who answers it, and its dynamic forward proxy, which looks up whatever name a
request or a TLS handshake says (resolution DYNAMIC_DNS, and the outbound policy ALLOW_ANY_DYNAMIC_DNS).

All clusters and filters of it share one cache: Envoy refuses two of one name that differ, so its name says how it does.
Source: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/http/http_proxy
"""

from __future__ import annotations

from typing import Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.clusters.dynamic_forward_proxy.v3.cluster_pb2 import ClusterConfig
from envoy.extensions.common.dynamic_forward_proxy.v3.dns_cache_pb2 import DnsCacheConfig
from envoy.extensions.filters.http.dynamic_forward_proxy.v3.dynamic_forward_proxy_pb2 import FilterConfig
from envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.sni_dynamic_forward_proxy_pb2 import (
    FilterConfig as ServerNameFilterConfig,
)
from envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2 import CaresDnsResolverConfig

from pilotfish.envoy.message import duration, pack, socket_address
from pilotfish.model import Duration
from pilotfish.model.wellknown import PROXY_DNS_PORT

RESOLVER: Final = TypedExtensionConfig(
    name="envoy.network.dns_resolver.cares",
    typed_config=pack(CaresDnsResolverConfig(resolvers=[socket_address("127.0.0.1", PROXY_DNS_PORT)])),
)
"""The agent's DNS for its Envoy, whose own traffic is not captured, so it is asked by address. Its other one
gives apps addresses of the mesh's own for ServiceEntries, which would lead Envoy back to itself."""


def _cache(refresh: Duration) -> DnsCacheConfig:
    """`refresh`: how often a name is asked for whose answer does not say how long it holds."""
    return DnsCacheConfig(
        name=f"dynamic_dns_{refresh}",
        dns_lookup_family=Cluster.V4_PREFERRED,
        dns_refresh_rate=duration(refresh),
        typed_dns_resolver_config=RESOLVER,
    )


def build_request_lookup(refresh: Duration) -> FilterConfig:
    """An HTTP filter. It looks at requests alone whose route leads to such a cluster."""
    return FilterConfig(dns_cache_config=_cache(refresh))


def build_server_name_lookup(port: int, refresh: Duration) -> Filter:
    """Before the TCP proxy; to this port of what the server name means."""
    config = ServerNameFilterConfig(dns_cache_config=_cache(refresh), port_value=port)
    return Filter(name="envoy.filters.network.sni_dynamic_forward_proxy", typed_config=pack(config))


def look_names_up(cluster: Cluster, refresh: Duration) -> None:
    # Whom it speaks TLS to is what a DestinationRule says, as with any other cluster.
    config = ClusterConfig(dns_cache_config=_cache(refresh), allow_insecure_cluster_options=True)
    cluster.cluster_type.CopyFrom(
        Cluster.CustomClusterType(name="envoy.clusters.dynamic_forward_proxy", typed_config=pack(config))
    )
    cluster.lb_policy = Cluster.CLUSTER_PROVIDED
