"""The rules, and what was set for them.

A packet to the outside takes two translations: the node gives it its own address, so that the answer comes back by the
node, which may have translated a Service's address before; the host gives it the one by which it goes out.

Forwarding is a setting of the interface that a packet comes in by (ip-sysctl.rst), so the answers need it at the
interfaces of the host. Where it was off there it is switched on, and these rules drop whatever it would let through
beside the mesh's own. In IPv6 there is one setting for all interfaces (`conf/all/forwarding`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Final

PREFIX: Final = "pilotfish-egress-"
"""Of the table's name on the host; the mesh's follows."""
FORWARDED: Final = "forwarded"
"""A set: the host's interfaces whose IPv4 forwarding a mesh switched on."""
FORWARDED_IPV6: Final = "forwarded-ipv6"
"""A set: `all` if a mesh switched IPv6 forwarding on."""
ROUTERS: Final = "routers-ipv6"
"""A set: interfaces whose own IPv6 forwarding was on before that."""
_ALL: Final = "all"
_MESHES: Final = '"pf-*"'
"""The host's ends of all meshes."""
_NODE_TABLE: Final = "ip pilotfish-egress"


def table_name(mesh: str) -> str:
    return f"{PREFIX}{mesh}"


@dataclass(frozen=True, slots=True)
class Ways:
    """One mesh's way out."""

    mesh: str
    interface: str
    """The host's end of the mesh's link."""
    v4: IPv4Network
    v6: IPv6Network
    forwarded: frozenset[str] = frozenset()
    """Interfaces whose IPv4 forwarding is on for meshes alone."""
    forwarded_ipv6: bool = False
    """So is IPv6 forwarding."""
    routers: frozenset[str] = field(default=frozenset())


def render_host(ways: Ways) -> str:
    """Replaces the mesh's table on the host."""
    table, link = f"inet {table_name(ways.mesh)}", f'"{ways.interface}"'
    return f"""\
add table {table}
delete table {table}
add table {table}
{_render_set(table, FORWARDED, ways.forwarded)}\
{_render_set(table, FORWARDED_IPV6, (_ALL,) if ways.forwarded_ipv6 else ())}\
{_render_set(table, ROUTERS, ways.routers)}\
add chain {table} forward {{ type filter hook forward priority -10 ; }}
add rule {table} forward iifname {link} oifname {_MESHES} reject with icmpx admin-prohibited
add rule {table} forward iifname {link} accept
add rule {table} forward oifname {link} ct state established,related accept
add rule {table} forward meta nfproto ipv4 iifname @{FORWARDED} oifname != {_MESHES} drop
add rule {table} forward meta nfproto ipv4 iifname @{FORWARDED} oifname {link} drop
{_render_ipv6_drops(table, link) if ways.forwarded_ipv6 else ""}\
add chain {table} postrouting {{ type nat hook postrouting priority 100 ; }}
add rule {table} postrouting ip saddr {ways.v4} oifname != {_MESHES} masquerade
add rule {table} postrouting ip6 saddr {ways.v6} oifname != {_MESHES} masquerade
"""


def render_node(v4: IPv4Network) -> str:
    """For the node's namespace: the answers to what pods send come back to where Services' addresses are translated."""
    return f"""\
add table {_NODE_TABLE}
delete table {_NODE_TABLE}
add table {_NODE_TABLE}
add chain {_NODE_TABLE} postrouting {{ type nat hook postrouting priority 100 ; }}
add rule {_NODE_TABLE} postrouting ip saddr {v4} ip daddr != {v4} masquerade
"""


def _render_set(table: str, name: str, interfaces: Iterable[str]) -> str:
    made = f"add set {table} {name} {{ type ifname ; }}\n"
    listed = ", ".join(f'"{each}"' for each in sorted(interfaces))
    return f"{made}add element {table} {name} {{ {listed} }}\n" if listed else made


def _render_ipv6_drops(table: str, link: str) -> str:
    return f"""\
add rule {table} forward meta nfproto ipv6 oifname {link} drop
add rule {table} forward meta nfproto ipv6 iifname != {_MESHES} oifname != {_MESHES} drop
"""
