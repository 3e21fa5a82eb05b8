"""A Scene out of what Envoys and kernels say of themselves, of any mesh: config dumps and iptables-save.

Where no rules are given, those are taken that capture all of a pod's TCP traffic, as Istio's do without annotations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pilotfish.capture import ALL, CaptureSpec, RuleSet, rules
from pilotfish.explain.held import Held, Json
from pilotfish.explain.scene import Family, Scene, Station
from pilotfish.model.names import NameTable
from pilotfish.model.proxy import NodeId, ProxyType

_ALL_TCP = CaptureSpec(inbound_ports_include=ALL, outbound_ip_ranges_include=ALL, enable_ipv6=True)


@dataclass(frozen=True, slots=True)
class Dumped:
    """One pod's."""

    config_dump: Json
    """/config_dump?include_eds"""
    clusters: Json | None = None
    """/clusters?format=json"""
    rules: RuleSet | None = None


def build_scene(client: Dumped, server: Dumped | None = None) -> tuple[Scene, Station]:
    """The scene, and the pod that calls. ValueError where a dump says of no proxy what it is."""
    caller = _station(client, _names(client.config_dump))
    others = [_station(server, NameTable())] if server is not None else []
    stations = {each.name: each for each in (caller, *others)}
    return Scene(stations, beyond="what happens at {} is not given"), caller


def _station(dumped: Dumped, names: NameTable) -> Station:
    node = _node(dumped.config_dump)
    found = NodeId.parse(str(node.get("id", "")))
    if found is None:
        raise ValueError("the config dump has no node id of a sidecar or a gateway in its bootstrap")
    ips = str(node.get("metadata", {}).get("INSTANCE_IPS", "")).split(",")
    addresses = tuple(dict.fromkeys((found.address, *(ip for ip in ips if ip))))
    is_gateway = found.type is ProxyType.ROUTER
    held = Held.of_dump(dumped.config_dump, dumped.clusters)

    def ruled(family: Family) -> RuleSet:
        return dumped.rules if dumped.rules is not None else rules(_ALL_TCP, family)

    return Station(
        name=found.pod,
        namespace=found.namespace,
        addresses=addresses,
        captured=not is_gateway,
        _rules=ruled,
        _held=lambda: held,
        _names=lambda: names,
        is_gateway=is_gateway,
    )


def _node(dump: Json) -> Json:
    for config in dump.get("configs", ()):
        node = config.get("bootstrap", {}).get("node")
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
