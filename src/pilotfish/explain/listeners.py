"""Which listener and which of its filter chains take a connection.

Sources: Envoy 1.40, FilterChainMatch in api-v3/config/listener/v3/listener_components.proto, and
https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/listeners/listener_filters/original_dst_filter
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any, Final

from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import Listener

from pilotfish.envoy.types import LISTENER
from pilotfish.envoy.values import ResourceSet
from pilotfish.explain.call import Application, Call, Direction, Failure
from pilotfish.model.wellknown import INBOUND_PORT, OUTBOUND_PORT

_WILDCARDS: Final = ("0.0.0.0", "::")
_SNIFFED: Final = {Application.HTTP: "http/1.1", Application.HTTP2: "h2c"}
_Rank = Callable[[FilterChainMatch], int]
"""0: the chain is out. 1: it does not ask. Higher: the more specific."""


def find_listener(resources: ResourceSet, call: Call) -> Listener | None:
    """Captured traffic goes to the listener of its address, else of its port, else stays where it arrived."""
    places = {place: found for found in _listeners(resources) for place in _places(found)}
    for place in _wanted(call):
        if place in places:
            return places[place]
    return None


def _listeners(resources: ResourceSet) -> Iterator[Listener]:
    return (Listener.FromString(resource.body) for resource in resources.resources(LISTENER))


def _places(listener: Listener) -> Iterator[tuple[str, int]]:
    for address in (listener.address, *(more.address for more in listener.additional_addresses)):
        yield address.socket_address.address, address.socket_address.port_value


def _wanted(call: Call) -> Iterator[tuple[str, int]]:
    if call.direction is Direction.INBOUND:
        yield from ((any_, INBOUND_PORT) for any_ in _WILDCARDS)
        return
    yield call.address, call.port
    yield from ((any_, call.port) for any_ in _WILDCARDS)
    if call.direction is Direction.OUTBOUND:
        yield from ((any_, OUTBOUND_PORT) for any_ in _WILDCARDS)


def find_chain(listener: Listener, call: Call) -> FilterChain | Failure:
    """Each criterion in turn keeps the chains that match it most specifically; Envoy never goes back."""
    if listener.HasField("filter_chain_matcher"):
        return Failure.UNKNOWN
    left = list(listener.filter_chains)
    for rank in _by_destination(listener, call):
        left = _most_specific(left, rank)
    if not call.source and any(map(_asks_for_source, left)):
        return Failure.UNKNOWN
    for rank in _by_source(call):
        left = _most_specific(left, rank)
    if len(left) > 1:
        return Failure.SEVERAL_FILTER_CHAINS
    if left:
        return left[0]
    return listener.default_filter_chain if listener.HasField("default_filter_chain") else Failure.NO_FILTER_CHAIN


def _most_specific(chains: list[FilterChain], rank: _Rank) -> list[FilterChain]:
    best = max((rank(chain.filter_chain_match) for chain in chains), default=0)
    return [chain for chain in chains if rank(chain.filter_chain_match) == best] if best else []


def _by_destination(listener: Listener, call: Call) -> Iterator[_Rank]:
    filters = {each.name.rpartition(".")[2] for each in listener.listener_filters}
    tls = call.tls if "tls_inspector" in filters else None
    sniffs = call.tls is None and "http_inspector" in filters
    seen = tls.alpn if tls else _SNIFFED.get(call.application, "") if sniffs else ""
    name = tls.server_name.lower() if tls else ""
    transport = "tls" if tls else "raw_buffer"
    yield lambda m: _rank(m.HasField("destination_port"), m.destination_port.value == call.port)
    yield lambda m: _rank_ranges(m.prefix_ranges, call.address)
    yield lambda m: _rank_names(m.server_names, name)
    yield lambda m: _rank(bool(m.transport_protocol), m.transport_protocol == transport)
    yield lambda m: _rank(bool(m.application_protocols), seen in m.application_protocols)


def _by_source(call: Call) -> Iterator[_Rank]:
    local = call.source == call.address or (bool(call.source) and ip_address(call.source).is_loopback)
    yield lambda m: _rank_ranges(m.direct_source_prefix_ranges, call.source)
    yield lambda m: _rank(bool(m.source_type), (m.source_type == FilterChainMatch.SAME_IP_OR_LOOPBACK) is local)
    yield lambda m: _rank_ranges(m.source_prefix_ranges, call.source)
    yield lambda m: _rank(bool(m.source_ports), call.source_port in m.source_ports)


def _asks_for_source(chain: FilterChain) -> bool:
    match = chain.filter_chain_match
    asked = (match.direct_source_prefix_ranges, match.source_type, match.source_prefix_ranges, match.source_ports)
    return any(asked)


def _rank(asked: bool, holds: bool) -> int:
    return 2 if asked and holds else 0 if asked else 1


def _rank_ranges(ranges: Iterable[Any], address: str) -> int:
    listed = tuple(ranges)
    if not listed or not address:
        return 1
    found = ip_address(address)
    networks = (ip_network(f"{each.address_prefix}/{each.prefix_len.value}", strict=False) for each in listed)
    fitting = [network.prefixlen for network in networks if found in network]
    return 2 + max(fitting) if fitting else 0


def _rank_names(names: Iterable[str], name: str) -> int:
    listed = tuple(names)
    if name in listed:
        return 3 + len(name)  # more than any wildcard that covers it
    fitting = [len(n) for n in listed if n.startswith("*.") and name.endswith(n[1:])]
    return 2 + max(fitting) if fitting else 0 if listed else 1
