"""The addresses of a network namespace."""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

from pilotfish.runtime.linux import netlink
from pilotfish.runtime.linux.netns import NetNs

_GET_ADDRESSES: Final = 22
_IFA_ADDRESS: Final = 1
_IFADDRMSG: Final = struct.Struct("=BBBBI")
"""Family, length of the prefix, flags, scope, index of the interface (rtnetlink(7))."""
_GLOBAL, _LOOPBACK = 0, 1


def find_addresses(netns: NetNs | None = None) -> tuple[str, ...]:
    """Those that others reach, as its interfaces have them. None: this process's own namespace, for which no privilege
    is needed."""
    with netlink.opened(netns, netlink.ROUTE) as link:
        found = [_parse_address(data) for data in link.dump(_GET_ADDRESSES, bytes(_IFADDRMSG.size))]
    return tuple(address for address in found if address)


def _parse_address(data: bytes) -> str:
    """Empty for one that is of use in this namespace or on its link alone."""
    _, _, _, scope, interface = _IFADDRMSG.unpack_from(data)
    packed = netlink.parse_attributes(data[_IFADDRMSG.size :]).get(_IFA_ADDRESS, b"")
    return str(ipaddress.ip_address(packed)) if scope == _GLOBAL and interface != _LOOPBACK and packed else ""
