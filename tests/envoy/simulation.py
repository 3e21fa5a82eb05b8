"""Envoy's choices, as far as one call needs them: listener, filter chain, virtual host, route, cluster.

Source: Envoy 1.40, FilterChainMatch in api-v3/config/listener/v3/listener_components.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

from pilotfish.envoy.types import LISTENER, ROUTE
from pilotfish.envoy.values import ResourceSet


@dataclass(frozen=True)
class Outcome:
    listener: str
    filter_chain: str = ""
    route_config: str = ""
    virtual_host: str = ""
    route: str = ""
    cluster: str = ""
    error: str | None = None


def simulate(resources: ResourceSet, call: Mapping[str, Any]) -> Outcome:
    listener = _listener(resources, call)
    chain = _chain(listener, call)
    if chain is None:
        return Outcome(listener.name, error="no-filter-chain")
    config = chain.filters[-1].typed_config
    if config.Is(TcpProxy.DESCRIPTOR):
        return Outcome(listener.name, chain.name, cluster=TcpProxy.FromString(config.value).cluster)
    if call["protocol"] == "tcp" or call["tls"] != "plaintext":
        return Outcome(listener.name, chain.name, error="protocol-error")
    return _request(resources, Outcome(listener.name, chain.name), HttpConnectionManager.FromString(config.value), call)


def _listener(resources: ResourceSet, call: Mapping[str, Any]) -> Any:
    """Captured traffic goes to the listener of its address, else of its port, else stays where it arrived."""
    by_address = {
        (found.address.socket_address.address, found.address.socket_address.port_value): found
        for found in (Listener.FromString(r.body) for r in resources.resources(LISTENER))
    }
    if call["mode"] == "inbound":
        return by_address["0.0.0.0", 15006]
    wanted = ((call["address"], call["port"]), ("0.0.0.0", call["port"]), ("0.0.0.0", 15001))
    return next(by_address[key] for key in wanted if key in by_address)


def _chain(listener: Any, call: Mapping[str, Any]) -> FilterChain | None:
    """Each criterion in turn keeps the chains that match it most specifically; Envoy never goes back."""
    filters = {f.name.rpartition(".")[2] for f in listener.listener_filters}
    tls = call["tls"] != "plaintext" and "tls_inspector" in filters
    sniffed = {"http": "http/1.1", "http2": "h2c"}.get(call["protocol"], "")
    http = sniffed if call["tls"] == "plaintext" and "http_inspector" in filters else ""
    seen = call["alpn"] if tls else http
    steps: tuple[Callable[[Any], int], ...] = (
        lambda m: _rank(bool(m.HasField("destination_port")), m.destination_port.value == call["port"]),
        lambda m: _rank_range(m, call["address"]),
        lambda m: _rank_name(m, (call["sni"] or "") if tls else ""),
        lambda m: _rank(bool(m.transport_protocol), m.transport_protocol == ("tls" if tls else "raw_buffer")),
        lambda m: _rank(bool(m.application_protocols), seen in m.application_protocols),
    )
    left = list(listener.filter_chains)
    for step in steps:
        best = max((step(c.filter_chain_match) for c in left), default=0)
        left = [c for c in left if step(c.filter_chain_match) == best] if best else []
    if not left:
        return listener.default_filter_chain if listener.HasField("default_filter_chain") else None
    assert len(left) == 1, "several chains match equally: Envoy would refuse the listener"
    return left[0]


def _rank(asked: bool, holds: bool) -> int:
    return 2 if asked and holds else 0 if asked else 1


def _rank_range(match: Any, address: str) -> int:
    fitting = [
        r.prefix_len.value
        for r in match.prefix_ranges
        if ip_address(address) in ip_network(f"{r.address_prefix}/{r.prefix_len.value}")
    ]
    return 2 + max(fitting) if fitting else 0 if match.prefix_ranges else 1


def _rank_name(match: Any, name: str) -> int:
    fitting = [len(n) for n in match.server_names if n == name or (n.startswith("*.") and name.endswith(n[1:]))]
    return 2 + max(fitting) if fitting else 0 if match.server_names else 1


def _request(resources: ResourceSet, so_far: Outcome, manager: Any, call: Mapping[str, Any]) -> Outcome:
    config = manager.route_config
    if manager.HasField("rds"):
        found = resources.get(ROUTE, manager.rds.route_config_name)
        assert found is not None
        config = RouteConfiguration.FromString(found.body)
    name = manager.rds.route_config_name
    host = _virtual_host(config, (call["host"] or "").rpartition(":")[0] or call["host"] or "")
    if host is None:
        return Outcome(so_far.listener, so_far.filter_chain, name, error="no-virtual-host")
    for route in host.routes:
        m = route.match
        if (m.path and m.path == call["path"]) or (m.prefix and call["path"].startswith(m.prefix)):
            cluster = route.route.cluster
            return Outcome(so_far.listener, so_far.filter_chain, name, host.name, route.name, cluster)
    return Outcome(so_far.listener, so_far.filter_chain, name, host.name, error="no-route")


def _virtual_host(config: Any, host: str) -> VirtualHost | None:
    domains = {d: v for v in config.virtual_hosts for d in v.domains}
    if host in domains:
        return domains[host]
    wild = sorted((d for d in domains if d.startswith("*") and d != "*" and host.endswith(d[1:])), key=len)
    return domains[wild[-1]] if wild else domains.get("*")
