"""What is the same for every mesh: the table, its hooks, and the maps and sets that frontends fill."""

from __future__ import annotations

from typing import Final

TABLE: Final = "ip pilotfish-services"
"""Family and name. Cluster IPs are IPv4."""

SERVICES: Final = "services"
"""(address, protocol, port) → the chain that chooses an endpoint."""
ENDPOINTS: Final = "endpoints"
"""(address, protocol, port, number) → an endpoint's address and port."""
ADDRESSES: Final = "addresses"
"""Every Service's addresses: what still goes to one after translation has nowhere to go."""
HAIRPINS: Final = "hairpins"
"""(endpoint, endpoint): who may be its own client."""

KEY: Final = "ip daddr . meta l4proto . th dport"
_KEY_TYPE = "ipv4_addr . inet_proto . inet_service"


def render_skeleton(beside: str, machine: str) -> str:
    """Replaces the table, whatever it held. `beside`: who answers pods without asking the node; the host does.
    `machine`: the node's address that stands for the host, at ports where no relay listens.

    - An endpoint that answers a client with the same address would answer itself, and one that stands beside would
      answer past the node, with an address that nobody called: for both the client's address is the node's.
    - TCP is refused by a reset: ICMP errors are limited to one a second for each destination (`icmp_ratelimit`), and a
      client that tries often would wait. Everything else gets "port unreachable".
    - Refusal comes right after translation (priority -100), before routing finds that nobody has such an address.
    """
    return f"""\
add table {TABLE}
delete table {TABLE}
add table {TABLE}
add map {TABLE} {SERVICES} {{ type {_KEY_TYPE} : verdict ; }}
add map {TABLE} {ENDPOINTS} {{ type {_KEY_TYPE} . mark : ipv4_addr . inet_service ; }}
add set {TABLE} {ADDRESSES} {{ type ipv4_addr ; }}
add set {TABLE} {HAIRPINS} {{ type ipv4_addr . ipv4_addr ; }}
add chain {TABLE} balance
add rule {TABLE} balance {KEY} vmap @{SERVICES}
add chain {TABLE} refuse
add rule {TABLE} refuse ip daddr != @{ADDRESSES} accept
add rule {TABLE} refuse meta l4proto tcp reject with tcp reset
add rule {TABLE} refuse reject
add chain {TABLE} nat-prerouting {{ type nat hook prerouting priority -100 ; }}
add rule {TABLE} nat-prerouting jump balance
add rule {TABLE} nat-prerouting ip daddr {machine} socket wildcard 0 accept
add rule {TABLE} nat-prerouting ip daddr {machine} meta l4proto {{ tcp, udp }} dnat to {beside}
add chain {TABLE} nat-output {{ type nat hook output priority -100 ; }}
add rule {TABLE} nat-output jump balance
add chain {TABLE} nat-postrouting {{ type nat hook postrouting priority 100 ; }}
add rule {TABLE} nat-postrouting ct status dnat ip saddr . ip daddr @{HAIRPINS} masquerade
add rule {TABLE} nat-postrouting ct status dnat ip daddr {beside} masquerade
add chain {TABLE} filter-prerouting {{ type filter hook prerouting priority -90 ; }}
add rule {TABLE} filter-prerouting jump refuse
add chain {TABLE} filter-output {{ type filter hook output priority -90 ; }}
add rule {TABLE} filter-output jump refuse
"""
