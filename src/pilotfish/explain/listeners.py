"""Which listener and which of its filter chains take a connection, and why the others do not.

Sources: Envoy 1.40, FilterChainMatch in api-v3/config/listener/v3/listener_components.proto, and
https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/listeners/listener_filters/original_dst_filter
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Final

from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import Listener

from pilotfish.explain.call import Application, Call, Direction, Failure
from pilotfish.explain.chain_matcher import Seen, choose_by_matcher
from pilotfish.explain.choice import Choice
from pilotfish.explain.filter_state import apply_filter, unknown_writers
from pilotfish.explain.held import Held
from pilotfish.explain.trace import Rejected
from pilotfish.model.wellknown import INBOUND_PORT, OUTBOUND_PORT

WILDCARDS: Final = ("0.0.0.0", "::")
_SNIFFED: Final = {Application.HTTP: "http/1.1", Application.HTTP2: "h2c"}


def virtual_listener(held: Held, call: Call, netns: str = "") -> Listener | None:
    """Where captured traffic arrives; None for what is sent to the proxy itself. `netns`: as in `walk_proxy`."""
    if call.direction is Direction.GATEWAY:
        return None
    port = INBOUND_PORT if call.direction is Direction.INBOUND else OUTBOUND_PORT
    return next((found for any_ in WILDCARDS if (found := held.listener(any_, port, netns)) is not None), None)


def choose_listener(held: Held, call: Call, virtual: Listener | None) -> Choice[Listener]:
    """The listener of the address that the client meant, else that of its port, else the one where it arrived."""
    if call.direction is Direction.INBOUND:
        return Choice(virtual)
    rejected: list[Rejected] = []
    if virtual is not None and not virtual.use_original_dst.value:
        return Choice(virtual, "it hands nothing on: use_original_dst is off")
    for place in ((call.address, call.port), *((any_, call.port) for any_ in WILDCARDS)):
        found = held.listeners_at(*place)
        if not _are_alike(found, call):
            why = f"{_names(found)} have {place[0]}:{place[1]}, and the one that came last takes it"
            return Choice(None, why, tuple(rejected), Failure.UNKNOWN)
        if found and virtual not in found:
            why = "it is that of the address" if place[0] == call.address else f"it is that of port {call.port}"
            return Choice(found[0], f"{why}{_elsewhere(found[0], virtual)}", tuple(rejected))
        if place[0] != "::":
            rejected.append(Rejected(f"{place[0]}_{place[1]}", "there is no such listener"))
    return Choice(virtual, "no listener has the address, so the connection stays where it arrived", tuple(rejected))


def _are_alike(listeners: tuple[Listener, ...], call: Call) -> bool:
    """It does not matter which of them takes it."""
    chosen = [choose_chain(each, call) for each in listeners]
    return all((each.taken, each.failure) == (chosen[0].taken, None) for each in chosen[1:])


def _names(listeners: Iterable[Listener]) -> str:
    return ", ".join(each.name for each in listeners)


def _elsewhere(found: Listener, virtual: Listener | None) -> str:
    """Of one that is bound for somebody else: Envoy does not look where."""
    netns = found.address.socket_address.network_namespace_filepath
    own = virtual.address.socket_address.network_namespace_filepath if virtual is not None else ""
    return f", though it is bound in {netns}" if netns and netns != own else ""


@dataclass(frozen=True, slots=True)
class _Criterion:
    name: str
    rank: Callable[[FilterChainMatch], int]
    """0: the chain is out. 1: it does not ask. Higher: the more specific."""
    asked: Callable[[FilterChainMatch], str]
    shown: str
    """What the connection has."""


def choose_chain(listener: Listener, call: Call) -> Choice[FilterChain]:
    """Each criterion in turn keeps the chains that match it most specifically; Envoy never goes back.

    Two that match equally come out as a failure: Envoy would have refused the whole listener.
    """
    seen = see(listener, call)
    if listener.HasField("filter_chain_matcher"):
        return choose_by_matcher(listener, seen)
    left = list(listener.filter_chains)
    rejected: list[Rejected] = []
    for criterion in _by_destination(call, seen):
        left = _narrow(left, criterion, rejected)
    if not call.source and any(_asks_for_source(chain) for chain in left):
        return Choice(None, "chains ask for the client's address, which is not given", tuple(rejected), Failure.UNKNOWN)
    for criterion in _by_source(call, seen):
        left = _narrow(left, criterion, rejected)
    if len(left) > 1:
        why = f"{len(left)} filter chains match equally"
        return Choice(None, why, tuple(rejected), Failure.SEVERAL_FILTER_CHAINS)
    if left:
        return Choice(left[0], _described(left[0]), tuple(rejected))
    if listener.HasField("default_filter_chain"):
        return Choice(listener.default_filter_chain, "no other chain matches", tuple(rejected))
    return Choice(rejected=tuple(rejected))


def chain_name(chain: FilterChain) -> str:
    return chain.name or "(without a name)"


def _narrow(chains: list[FilterChain], criterion: _Criterion, rejected: list[Rejected]) -> list[FilterChain]:
    ranks = [criterion.rank(chain.filter_chain_match) for chain in chains]
    best = max(ranks, default=0)
    for chain, rank in zip(chains, ranks, strict=True):
        if rank == best and best:
            continue
        asked = criterion.asked(chain.filter_chain_match)
        if not rank:
            reason = f"it wants {criterion.name} {asked}; this is {criterion.shown}"
        else:
            reason = f"another chain asks for {criterion.name} more exactly"
        rejected.append(Rejected(chain_name(chain), reason))
    return [chain for chain, rank in zip(chains, ranks, strict=True) if rank == best and best]


def _described(chain: FilterChain) -> str:
    match = chain.filter_chain_match
    parts = (
        f"port {match.destination_port.value}" if match.HasField("destination_port") else "",
        f"address {_ranges(match.prefix_ranges)}" if match.prefix_ranges else "",
        f"server name {', '.join(match.server_names)}" if match.server_names else "",
        {"raw_buffer": "plaintext", "tls": "TLS"}.get(match.transport_protocol, match.transport_protocol),
        f"protocol {', '.join(match.application_protocols)}" if match.application_protocols else "",
    )
    said = ", ".join(part for part in parts if part)
    return f"it asks for {said}" if said else "it asks for nothing"


def inspectors(listener: Listener, call: Call) -> frozenset[str]:
    """The listener filters that look at this connection."""
    return frozenset(
        each.name.rpartition(".")[2]
        for each in listener.listener_filters
        if not _is_disabled(each.filter_disabled, call)
    )


def _is_disabled(predicate: Any, call: Call) -> bool:
    """https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/config/listener/v3/listener_components.proto,
    ListenerFilterChainMatchPredicate."""
    match predicate.WhichOneof("rule"):
        case "destination_port_range":
            return bool(predicate.destination_port_range.start <= call.port < predicate.destination_port_range.end)
        case "or_match":
            return any(_is_disabled(each, call) for each in predicate.or_match.rules)
        case "and_match":
            return all(_is_disabled(each, call) for each in predicate.and_match.rules)
        case "not_match":
            return not _is_disabled(predicate.not_match, call)
        case "any_match":
            return True
        case _:
            return False


def see(listener: Listener, call: Call) -> Seen:
    """What a listener's filters find out of a connection, and what is known of it anyway."""
    filters = inspectors(listener, call)
    tls = call.tls if "tls_inspector" in filters else None
    sniffs = call.tls is None and "http_inspector" in filters
    sniffed = _SNIFFED.get(call.application, "") if sniffs else ""
    state = call.state
    for each in listener.listener_filters:
        state = apply_filter(each.typed_config, state)
    return Seen(
        address=call.address,
        port=call.port,
        source=call.source or None,
        source_port=call.source_port or None,
        is_local=_is_local(call) if call.source else None,
        server_name=tls.server_name.lower() if tls else "",
        transport="tls" if tls else "raw_buffer",
        protocols=tls.alpn if tls else (sniffed,) if sniffed else (),
        state=state,
        other_state=any(unknown_writers(listener.listener_filters)),
    )


def _is_local(call: Call) -> bool:
    return call.source == call.address or (bool(call.source) and ip_address(call.source).is_loopback)


def _by_destination(call: Call, seen: Seen) -> Iterator[_Criterion]:
    name, transport, offered = seen.server_name or "", seen.transport, seen.protocols or ()
    yield _Criterion(
        "port",
        lambda m: _rank(m.HasField("destination_port"), m.destination_port.value == call.port),
        lambda m: str(m.destination_port.value),
        str(call.port),
    )
    yield _Criterion(
        "an address in",
        lambda m: _rank_ranges(m.prefix_ranges, call.address),
        lambda m: _ranges(m.prefix_ranges),
        call.address,
    )
    yield _Criterion(
        "the server name",
        lambda m: _rank_names(m.server_names, name),
        lambda m: ", ".join(m.server_names),
        repr(name) if name else "a connection without one",
    )
    yield _Criterion(
        "the transport",
        lambda m: _rank(bool(m.transport_protocol), m.transport_protocol == transport),
        lambda m: m.transport_protocol,
        transport or "",
    )
    yield _Criterion(
        "the protocol",
        lambda m: _rank_offers(m.application_protocols, offered),
        lambda m: ", ".join(m.application_protocols),
        ", ".join(offered) or "nothing that was recognised",
    )


def _by_source(call: Call, seen: Seen) -> Iterator[_Criterion]:
    local, source = bool(seen.is_local), call.source or "not given"
    yield _Criterion(
        "a direct source in",
        lambda m: _rank_ranges(m.direct_source_prefix_ranges, call.source),
        lambda m: _ranges(m.direct_source_prefix_ranges),
        source,
    )
    yield _Criterion(
        "a source that is",
        lambda m: _rank(bool(m.source_type), (m.source_type == FilterChainMatch.SAME_IP_OR_LOOPBACK) is local),
        lambda m: FilterChainMatch.ConnectionSourceType.Name(m.source_type),
        source,
    )
    yield _Criterion(
        "a source in",
        lambda m: _rank_ranges(m.source_prefix_ranges, call.source),
        lambda m: _ranges(m.source_prefix_ranges),
        source,
    )
    yield _Criterion(
        "the source port",
        lambda m: _rank(bool(m.source_ports), call.source_port in m.source_ports),
        lambda m: ", ".join(map(str, m.source_ports)),
        str(call.source_port),
    )


def _asks_for_source(chain: FilterChain) -> bool:
    match = chain.filter_chain_match
    asked = (match.direct_source_prefix_ranges, match.source_type, match.source_prefix_ranges, match.source_ports)
    return any(asked)


def _rank(asked: bool, holds: bool) -> int:
    return 2 if asked and holds else 0 if asked else 1


def _rank_offers(asked: Iterable[str], offered: tuple[str, ...]) -> int:
    """The client's own order decides: what it offers first."""
    wanted = frozenset(asked)
    places = (len(offered) - place for place, each in enumerate(offered) if each in wanted)
    return 1 + max(places, default=-1) if wanted else 1


def _ranges(ranges: Iterable[Any]) -> str:
    return ", ".join(f"{each.address_prefix}/{each.prefix_len.value}" for each in ranges)


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
