"""IP addresses and ranges, as text."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Final

_NUMBER: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"(?:{_NUMBER}\.){{3}}{_NUMBER}")
"""Most addresses: `ipaddress` takes ten times as long to read one, and a mesh has some for each of its endpoints."""


def is_ipv4(text: str) -> bool:
    return _IPV4.fullmatch(text) is not None


def is_ip(text: str) -> bool:
    """An IPv4 or IPv6 address without a zone."""
    if is_ipv4(text):
        return True
    try:
        return "%" not in text and bool(ip_address(text))
    except ValueError:
        return False


def is_loopback(text: str) -> bool:
    """An address that none but the processes of its network namespace reach; IPv4 within IPv6 counts as what it is."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def normal_range(text: str) -> str | None:
    """An address, or a range with its host bits cleared; None for what is neither. A range of one is an address."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def bracketed(host: str) -> str:
    """As it stands before a port: `[::1]`, `127.0.0.1`, `localhost`."""
    return f"[{host}]" if ":" in host else host


def host_port(host: str, port: int) -> str:
    """`[::1]:80`, `127.0.0.1:80`, `localhost:80`."""
    return f"{bracketed(host)}:{port}"
