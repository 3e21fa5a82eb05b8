"""Which addresses a mesh takes: the first of 10.244.0.0/16, 10.243.0.0/16, ... that nobody on the machine uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

FIRST = 244
_AGGREGATE = 12
"""A route this wide or wider (a VPN's 10.0.0.0/8) hides every choice; ours, being longer, then wins over it."""


@dataclass(frozen=True, slots=True)
class Subnets:
    """One mesh's addresses; `number` is the N of 10.N.0.0/16."""

    number: int

    @property
    def v4(self) -> IPv4Network:
        return IPv4Network((f"10.{self.number}.0.0", 16))

    @property
    def v6(self) -> IPv6Network:
        return IPv6Network((f"fd70:6600:{self.number}::", 64))

    @property
    def node(self) -> tuple[IPv4Address, IPv6Address]:
        """Where discovery listens, and the pods' default gateway."""
        return self.v4[1], self.v6[1]

    @property
    def host(self) -> tuple[IPv4Address, IPv6Address]:
        """The host's own end."""
        return self.v4[0xFFFE], self.v6[0xFFFF]

    def interface(self, address: str) -> str:
        """`10.244.0.2` → `10.244.0.2/16`. ValueError for an address of another mesh."""
        network = self.v6 if ":" in address else self.v4
        if ip_address(address) not in network:
            raise ValueError(f"{address} is not in {network}")
        return f"{address}/{network.prefixlen}"


def choose(used: Iterable[str]) -> Subnets | None:
    """The first free one. `used`: networks of the host's routes and of other meshes; None if none is free."""
    networks = tuple(IPv4Network(text, strict=False) for text in used if ":" not in text)
    narrow = tuple(network for network in networks if network.prefixlen > _AGGREGATE)
    for taken in (networks, narrow):
        for number in range(FIRST, -1, -1):
            subnets = Subnets(number)
            if not any(network.prefixlen > 0 and network.overlaps(subnets.v4) for network in taken):
                return subnets
    return None


def hardware_address(address: IPv4Address) -> str:
    """A MAC address that follows from the IP address, so that who reuses one is found by neighbours' old entries."""
    return "0a:58:" + address.packed.hex(":")
