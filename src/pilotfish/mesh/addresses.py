"""IP addresses and ranges, as text."""

from __future__ import annotations

from ipaddress import ip_address, ip_network


def is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def normal_range(text: str) -> str | None:
    """An address, or a range with its host bits cleared; None for what is neither. A range of one is an address."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    return str(network.network_address) if network.num_addresses == 1 else str(network)
