"""What is to be captured in one pod."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Literal

from pilotfish.model.wellknown import (
    INBOUND_PORT,
    OUTBOUND_PORT,
    PROXY_GID,
    PROXY_UID,
    TPROXY_MARK,
    TPROXY_ROUTE_TABLE,
    TUNNEL_PORT,
)

All = Literal["*"]
ALL: Final[All] = "*"
Family = Literal[4, 6]
Network = IPv4Network | IPv6Network
_LOOPBACK = IPv4Network("127.0.0.1/32")


class Mode(StrEnum):
    """How inbound connections reach the proxy."""

    REDIRECT = "REDIRECT"
    """NAT: the proxy sees itself as the peer's destination, the app sees 127.0.0.6 as its peer."""
    TPROXY = "TPROXY"
    """Transparent: source and destination stay as they were. Needs policy routing beside the rules."""


@dataclass(frozen=True, slots=True)
class CaptureSpec:
    """One pod's capture. The defaults are those of Istio's `pilot-agent istio-iptables`; `()` captures nothing."""

    proxy_port: int = OUTBOUND_PORT
    """The proxy's outbound listener."""
    inbound_capture_port: int = INBOUND_PORT
    inbound_tunnel_port: int = TUNNEL_PORT
    """Traffic to it is the mesh's own (HBONE) and never captured."""
    proxy_uids: tuple[int, ...] = (PROXY_UID,)
    """Traffic of these users is the proxy's own."""
    proxy_gids: tuple[int, ...] = (PROXY_GID,)
    mode: Mode = Mode.REDIRECT
    inbound_ports_include: tuple[int, ...] | All = ()
    inbound_ports_exclude: tuple[int, ...] = ()
    """Only looked at where all inbound ports are included."""
    outbound_ip_ranges_include: tuple[Network, ...] | All = ()
    outbound_ip_ranges_exclude: tuple[Network, ...] = ()
    outbound_ports_include: tuple[int, ...] = ()
    outbound_ports_exclude: tuple[int, ...] = ()
    exclude_interfaces: tuple[str, ...] = ()
    reroute_virtual_interfaces: tuple[str, ...] = ()
    """What comes in by these is outbound traffic: of virtual machines in the pod."""
    tproxy_mark: int = TPROXY_MARK
    tproxy_route_table: int = TPROXY_ROUTE_TABLE
    redirect_dns: bool = False
    """Has effect only with `capture_all_dns` or a DNS server, see `captures_dns`."""
    capture_all_dns: bool = False
    dns_servers_v4: tuple[IPv4Address, ...] = ()
    dns_servers_v6: tuple[IPv6Address, ...] = ()
    drop_invalid: bool = False
    """Drops packets that conntrack can't place, which otherwise pass NAT by and reset connections."""
    owner_groups_include: tuple[str, ...] | All = ALL
    """Only traffic of processes of these groups (names or numbers) is captured."""
    owner_groups_exclude: tuple[str, ...] = ()
    host_ipv4_loopback_cidr: IPv4Network = _LOOPBACK
    enable_ipv6: bool = False

    @property
    def captures_dns(self) -> bool:
        return self.redirect_dns and bool(self.capture_all_dns or self.dns_servers_v4 or self.dns_servers_v6)

    @property
    def includes_loopback(self) -> bool:
        """An address of loopback is captured on purpose, so a pod's traffic to itself must not be let pass."""
        ranges = self.outbound_ip_ranges_include
        return ranges != ALL and any(network.network_address.is_loopback for network in ranges)
