"""Which addresses a mesh takes: those it is told, or the first of 10.244.0.0/16, 10.243.0.0/16, ... that is free."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from pilotfish.node.services import CLUSTER_IPS, dns_address

FIRST = 244
_AGGREGATE = 12
"""A route this wide or wider (a VPN's 10.0.0.0/8) hides every choice; ours, being longer, then wins over it."""
_WIDEST, _NARROWEST = 16, 28
"""Prefixes of the pods' network: links are named by an address's last two bytes, and some pods should fit in."""
_SERVICES_WIDEST = 8
_NARROWEST_V6 = 112
"""Pods have the same number in both families."""


@dataclass(frozen=True, slots=True)
class Subnets:
    """One mesh's addresses."""

    v4: IPv4Network
    """The pods', with the node and the host's end."""
    v6: IPv6Network
    services: IPv4Network = CLUSTER_IPS
    """The cluster IPs."""

    @classmethod
    def numbered(cls, number: int, services: IPv4Network = CLUSTER_IPS) -> Subnets:
        """10.`number`.0.0/16."""
        return cls.beside(IPv4Network((f"10.{number}.0.0", 16)), services)

    @classmethod
    def beside(cls, v4: IPv4Network, services: IPv4Network = CLUSTER_IPS) -> Subnets:
        """With an IPv6 network that is as much the mesh's own as `v4` is: fd70:6600:244::/64 beside 10.244.0.0/16,
        fd70:6601:ac14:0::/64 beside 172.20.0.0/16."""
        first, second, third, fourth = v4.network_address.packed
        if first == 10 and v4.prefixlen == _WIDEST:
            return cls(v4, IPv6Network(f"fd70:6600:{second}::/64"), services)
        return cls(v4, IPv6Network(f"fd70:6601:{first:02x}{second:02x}:{third:02x}{fourth:02x}::/64"), services)

    @property
    def node(self) -> tuple[IPv4Address, IPv6Address]:
        """Where discovery listens, and the pods' default gateway."""
        return self.v4[1], self.v6[1]

    @property
    def host(self) -> tuple[IPv4Address, IPv6Address]:
        """The host's own end."""
        return self.v4[-2], self.v6[0xFFFF]

    @property
    def machine(self) -> IPv4Address:
        """The node's address that stands for the host's own services."""
        return self.v4[-3]

    @property
    def dns(self) -> str:
        """Where pods' resolv.conf points."""
        return dns_address(self.services)

    def interface(self, address: str) -> str:
        """`10.244.0.2` → `10.244.0.2/16`. ValueError for an address of another mesh."""
        network = self.v6 if ":" in address else self.v4
        if ip_address(address) not in network:
            raise ValueError(f"{address} is not in {network}")
        return f"{address}/{network.prefixlen}"


def parse_pod_cidr(text: str) -> tuple[IPv4Network, IPv6Network | None]:
    """`172.20.0.0/16`, `172.20.0.0/16,fd00:1::/64`. Raises ValueError with words for the user."""
    first, _, second = text.partition(",")
    v4 = _parse(first, "--pod-cidr")
    v6 = _parse(second, "--pod-cidr") if second else None
    if isinstance(v4, IPv6Network) or isinstance(v6, IPv4Network):
        raise ValueError(f"--pod-cidr {text}: write an IPv4 network, and after a comma an IPv6 one if you like")
    if not _WIDEST <= v4.prefixlen <= _NARROWEST:
        raise ValueError(f"--pod-cidr {v4}: a network of pods is from /{_WIDEST} to /{_NARROWEST}")
    if v6 is not None and v6.prefixlen > _NARROWEST_V6:
        raise ValueError(f"--pod-cidr {v6}: IPv6 needs a network of /{_NARROWEST_V6} or wider, such as a /64")
    return v4, v6


def parse_service_cidr(text: str) -> IPv4Network:
    """`10.97.0.0/16`. Raises ValueError with words for the user."""
    network = _parse(text, "--service-cidr")
    if isinstance(network, IPv6Network):
        raise ValueError(f"--service-cidr {text}: cluster IPs are IPv4; write a network such as {CLUSTER_IPS}")
    if not _SERVICES_WIDEST <= network.prefixlen <= _NARROWEST:
        raise ValueError(f"--service-cidr {network}: it may be from /{_SERVICES_WIDEST} to /{_NARROWEST}")
    return network


def choose(used: Iterable[str], services: IPv4Network = CLUSTER_IPS) -> Subnets | None:
    """The first free one. `used`: networks of the host's routes and of other meshes; None if none is free."""
    networks = parse_used(used)
    narrow = tuple(network for network in networks if network.prefixlen > _AGGREGATE)
    for taken in (networks, narrow):
        for number in range(FIRST, -1, -1):
            subnets = Subnets.numbered(number, services)
            if not subnets.v4.overlaps(services) and find_overlap(subnets.v4, taken) is None:
                return subnets
    return None


def parse_used(used: Iterable[str]) -> tuple[IPv4Network, ...]:
    return tuple(IPv4Network(text, strict=False) for text in used if ":" not in text)


def find_overlap(wanted: IPv4Network, used: Iterable[IPv4Network]) -> IPv4Network | None:
    """The first of `used` that shares addresses with `wanted`."""
    return next((each for each in used if each.prefixlen > 0 and each.overlaps(wanted)), None)


def hardware_address(address: IPv4Address) -> str:
    """A MAC address that follows from the IP address, so that who reuses one is found by neighbours' old entries."""
    return "0a:58:" + address.packed.hex(":")


def _parse(text: str, flag: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text.strip())
    except ValueError as error:
        raise ValueError(f"{flag} {text}: {error}; write a network such as 172.20.0.0/16") from None
