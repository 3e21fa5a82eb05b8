"""A Scene out of what Envoys and kernels say of themselves, of any mesh: config dumps and iptables-save.

A dump may be of API v2 (`old_dumps`), and need not say whose it is: then the pod is the client, or the server.
Where no rules are given, those are taken that capture all of a pod's TCP traffic, as Istio's do without annotations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from pilotfish.capture import ALL, CaptureSpec, RuleSet, rules
from pilotfish.envoy.naming import VIRTUAL_OUTBOUND
from pilotfish.envoy.types import LISTENER
from pilotfish.explain.held import Held, Json, named
from pilotfish.explain.listeners import WILDCARDS
from pilotfish.explain.pod_view import narrow_dump
from pilotfish.explain.scene import Family, Scene, Station
from pilotfish.model.names import NameTable
from pilotfish.model.proxy import NodeId, ProxyType
from pilotfish.model.wellknown import INBOUND_PORT, OUTBOUND_PORT

_BEYOND: Final = "what happens at {} is not given"
_ALL_TCP = CaptureSpec(inbound_ports_include=ALL, outbound_ip_ranges_include=ALL, enable_ipv6=True)


@dataclass(frozen=True, slots=True)
class Dumped:
    """One pod's."""

    config_dump: Json
    """/config_dump?include_eds"""
    clusters: Json | None = None
    """/clusters?format=json"""
    rules: RuleSet | None = None


def build_scene(client: Dumped, server: Dumped | None = None, pod: str = "") -> tuple[Scene, Station | None]:
    """The scene, and the pod that calls: None for a gateway, which is called from outside. `pod`: which of those that
    a machine's proxy serves. Raises ValueError where it serves none of this name, or not said is which."""
    served = dict(_served(client.config_dump))
    if bool(pod) is not bool(served) or (pod and pod not in served):
        raise ValueError(_ask_for(pod, served))
    if pod:
        return _build_served(client, served, pod)
    caller = _station(client, "the client", _names(client.config_dump))
    others = [_station(server, "the server", NameTable())] if server is not None else []
    stations = {each.name: each for each in (caller, *others)}
    entrance = caller if caller.is_gateway else None
    scene = Scene(stations, beyond=_BEYOND, entrance=entrance)
    return scene, None if caller.is_gateway else caller


def _station(dumped: Dumped, fallback: str, names: NameTable) -> Station:
    """`fallback`: what the pod is called where the dump does not say it."""
    held = Held.of_dump(dumped.config_dump, dumped.clusters)
    node = _node(dumped.config_dump)
    found = NodeId.parse(str(node.get("id", "")))
    ips = str(node.get("metadata", {}).get("INSTANCE_IPS", "")).split(",")
    stated = (found.address if found is not None else "", *ips)
    addresses = tuple(dict.fromkeys(ip for ip in stated if ip)) or tuple(_own_addresses(held))
    # A proxy that captures nothing is called itself.
    is_gateway = found.type is ProxyType.ROUTER if found is not None else not _captures(held)

    def ruled(family: Family) -> RuleSet:
        return dumped.rules if dumped.rules is not None else rules(_ALL_TCP, family)

    return Station(
        name=found.pod if found is not None else str(node.get("id", "")) or fallback,
        namespace=found.namespace if found is not None else "",
        addresses=addresses,
        captured=not is_gateway,
        _rules=ruled,
        _held=lambda: held,
        _names=lambda: names,
        is_gateway=is_gateway,
    )


def _served(dump: Json) -> Iterator[tuple[str, str]]:
    """Of a machine's proxy: (a pod, the file of its network namespace)."""
    for name, listener in named(dump, LISTENER):
        virtual, _, pod = name.partition("~")
        netns = listener.get("address", {}).get("socket_address", {}).get("network_namespace_filepath", "")
        if virtual == VIRTUAL_OUTBOUND and netns:
            yield pod, netns


def _ask_for(pod: str, served: Mapping[str, str]) -> str:
    if not served:
        return f"the dump is that of one pod alone, which it names itself: leave {pod} away"
    there = ", ".join(sorted(served))
    return f"the dump's proxy serves {there}: {f'it does not serve {pod}' if pod else 'say which of them calls'}"


def _build_served(dumped: Dumped, served: Mapping[str, str], pod: str) -> tuple[Scene, Station]:
    """Which addresses the pods have, it does not know: those that are called are not found."""
    held = Held.of_dump(dumped.config_dump, dumped.clusters)
    machine = NodeId.parse(str(_node(dumped.config_dump).get("id", "")))

    def ruled(family: Family) -> RuleSet:
        return dumped.rules if dumped.rules is not None else rules(_ALL_TCP, family)

    station = Station(
        name=pod,
        namespace=pod.rpartition(".")[2],
        addresses=(),
        captured=True,
        _rules=ruled,
        _held=lambda: held,
        _names=lambda: _names(narrow_dump(dumped.config_dump, served[pod])),
        machine=machine.name if machine is not None else "its own",
        netns=served[pod],
    )
    return Scene({pod: station}, beyond=_BEYOND), station


def _captures(held: Held) -> bool:
    ports = (OUTBOUND_PORT, INBOUND_PORT)
    return any(held.listener(any_, port) is not None for any_ in WILDCARDS for port in ports)


def _own_addresses(held: Held) -> Iterator[str]:
    """Those for which the listeners of captured traffic have chains of their own: the pod's."""
    for port in (INBOUND_PORT, OUTBOUND_PORT):
        listeners = (found for any_ in WILDCARDS if (found := held.listener(any_, port)) is not None)
        for chain in (chain for listener in listeners for chain in listener.filter_chains):
            for block in chain.filter_chain_match.prefix_ranges:
                address = ip_address(block.address_prefix)
                if block.prefix_len.value == address.max_prefixlen:
                    yield str(address)


def _node(dump: Json) -> Json:
    for config in dump.get("configs", ()):
        node = (config.get("bootstrap") or {}).get("node")
        if node:
            found: Json = node
            return found
    return {}


def _names(dump: Json) -> NameTable:
    """The names that virtual hosts have beside the addresses of their services: a dump holds no others."""
    records: dict[str, tuple[str, ...]] = {}
    for host in _virtual_hosts(dump):
        domains = [domain.rpartition(":")[0] or domain for domain in host.get("domains", ())]
        addresses = tuple(dict.fromkeys(d for d in domains if d.replace(".", "").isdecimal()))
        if addresses:
            records.update((d.rstrip("."), addresses) for d in domains if d not in addresses and "*" not in d)
    return NameTable("dump", records)


def _virtual_hosts(dump: Json) -> Iterator[dict[str, Any]]:
    for config in dump.get("configs", ()):
        for key in ("dynamic_route_configs", "static_route_configs"):
            for entry in config.get(key, ()):
                yield from entry.get("route_config", {}).get("virtual_hosts", ())
