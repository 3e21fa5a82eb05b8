"""Whose a connection is: the network namespace that it came in, by whose path everything goes.

    listener in the pod's namespace ─▶ `envoy.network.network_namespace`, which Envoy itself sets, and which survives
    the hand-over to another listener ─▶ MARK, the first filter of each chain ─▶ shared with what is opened for it:
    the namespace that it is opened in, and the name of the certificate that is shown

All of it is hashed into the pools' keys (`envoy.hashable_string`): with `envoy.string` the request of one pod would go
out over the connection of another.
"""

from __future__ import annotations

from typing import Any, Final

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import ExtraSourceAddress
from envoy.config.core.v3.base_pb2 import DataSource, TransportSocket
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.filters.network.set_filter_state.v3.set_filter_state_pb2 import Config
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.extensions.local_address_selectors.filter_state_override.v3.config_pb2 import Config as SelectorConfig
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import (
    CommonTlsContext,
    DownstreamTlsContext,
    UpstreamTlsContext,
)
from google.protobuf.any_pb2 import Any as AnyMessage
from xds.type.v3.typed_struct_pb2 import TypedStruct

from pilotfish.envoy.filter_state import BIND_NETNS, CERTIFICATE, NETNS
from pilotfish.envoy.message import pack, socket_address
from pilotfish.envoy.naming import NAMESPACE_MEMBER, SDS_CLUSTER, WORKLOAD_CERTIFICATE

_SAID: Final = f"%FILTER_STATE({NETNS}:PLAIN)%"
_NOBODYS: Final = "of-no-pod"
"""The certificate of a connection that is opened for nobody: there is none."""


def _marked(key: str) -> FilterStateValue:
    return FilterStateValue(
        object_key=key,
        factory_key="envoy.hashable_string",
        format_string=SubstitutionFormatString(text_format_source=DataSource(inline_string=_SAID)),
        shared_with_upstream=FilterStateValue.ONCE,
    )


MARK: Final = Filter(
    name="envoy.filters.network.set_filter_state",
    typed_config=pack(Config(on_new_connection=[_marked(BIND_NETNS), _marked(CERTIFICATE)])),
)

_SELECTOR: Final = TypedExtensionConfig(
    name="envoy.upstream.local_address_selector.filter_state_override", typed_config=pack(SelectorConfig())
)


def listen_in(listener: Listener, netns: str) -> None:
    """At the same addresses, in a pod's namespace."""
    for address in (listener.address, *(each.address for each in listener.additional_addresses)):
        if address.HasField("socket_address"):
            address.socket_address.network_namespace_filepath = netns


def mark_chain(chain: FilterChain) -> None:
    """What it opens is opened for the pod, and its logs say whose lines they are."""
    for each in chain.filters:
        _tell_apart_logs(each.typed_config)
    chain.filters.insert(0, MARK)


def tell_apart_listener_logs(listener: Listener) -> None:
    for log in listener.access_log:
        _tell_apart(log)


def open_for_pods(cluster: Cluster) -> None:
    """From the namespace of the pod for which it is, with its certificate."""
    bound = cluster.upstream_bind_config
    if not bound.HasField("source_address"):
        bound.source_address.CopyFrom(socket_address("0.0.0.0", 0).socket_address)
        bound.extra_source_addresses.append(ExtraSourceAddress(address=socket_address("::", 0).socket_address))
    bound.local_address_selector.CopyFrom(_SELECTOR)
    sockets = [match.transport_socket for match in cluster.transport_socket_matches]
    for socket in (cluster.transport_socket, *sockets) if cluster.HasField("transport_socket") else sockets:
        context = _context(socket, UpstreamTlsContext())
        if context is not None and _takes_own(context.common_tls_context):
            del context.common_tls_context.tls_certificate_sds_secret_configs[:]
            context.common_tls_context.custom_tls_certificate_selector.CopyFrom(_BY_NAMESPACE)
            socket.typed_config.CopyFrom(pack(context))


def show_certificate_of(chain: FilterChain, netns: str) -> None:
    """To whoever calls the pod by mutual TLS."""
    context = _context(chain.transport_socket, DownstreamTlsContext()) if chain.HasField("transport_socket") else None
    if context is None:
        return
    for secret in context.common_tls_context.tls_certificate_sds_secret_configs:
        if secret.name == WORKLOAD_CERTIFICATE:
            secret.name = netns
    chain.transport_socket.typed_config.CopyFrom(pack(context))


def _takes_own(common: CommonTlsContext) -> bool:
    return any(each.name == WORKLOAD_CERTIFICATE for each in common.tls_certificate_sds_secret_configs)


def _context(socket: TransportSocket, empty: Any) -> Any:
    return empty if socket.typed_config.Unpack(empty) else None


def _struct(message: str, value: dict[str, Any]) -> AnyMessage:
    """A message of Envoy's that no Python package of its API has yet."""
    made = TypedStruct(type_url=f"type.googleapis.com/{message}")
    made.value.update(value)
    return pack(made)


_TLS: Final = "envoy.extensions.transport_sockets.tls"
_BY_NAMESPACE: Final = TypedExtensionConfig(
    name="envoy.tls.certificate_selectors.on_demand_secret",
    typed_config=_struct(
        f"{_TLS}.cert_selectors.on_demand_secret.v3.Config",
        {
            "config_source": {
                "api_config_source": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": True,
                    "grpc_services": [{"envoy_grpc": {"cluster_name": SDS_CLUSTER}}],
                },
                "initial_fetch_timeout": "0s",
                "resource_api_version": "V3",
            },
            "certificate_mapper": {
                "name": "envoy.tls.upstream_certificate_mappers.filter_state_override",
                "typed_config": {
                    "@type": f"type.googleapis.com/{_TLS}.cert_mappers.filter_state_override.v3.Config",
                    "default_value": _NOBODYS,
                },
            },
        },
    ),
)
"""The client's certificate is asked for when a connection first wants it, and kept. Source:
https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/config/certificate_selectors/certificate_selectors"""


def _tell_apart_logs(config: AnyMessage) -> None:
    """In place. What is no manager and no TCP proxy has no log."""
    for found in (HttpConnectionManager(), TcpProxy()):
        if config.Is(found.DESCRIPTOR) and _told_apart(config, found):
            config.CopyFrom(pack(found))


def _told_apart(config: AnyMessage, found: Any) -> bool:
    config.Unpack(found)
    for log in found.access_log:
        _tell_apart(log)
    return bool(found.access_log)


def _tell_apart(log: AccessLog) -> None:
    written = FileAccessLog()
    if not log.typed_config.Unpack(written):
        return
    form = written.log_format
    if form.HasField("json_format"):
        form.json_format.fields[NAMESPACE_MEMBER].string_value = _SAID
    else:
        form.text_format_source.inline_string = f"{_SAID} {form.text_format_source.inline_string}"
    log.typed_config.CopyFrom(pack(written))
