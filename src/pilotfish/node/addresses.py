"""Pods' addresses: 10.N.0.2 and up, with the IPv6 address of the same number beside it."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network

_FIRST = 2
_BEHIND = 3
"""10.N.255.253, which stands for the host's services, 10.N.255.254, the host's own, and 10.N.255.255."""


def next_offset(used: Collection[int], last: int, addresses: int = 1 << 16) -> int:
    """The first free offset after `last`, round about: an address that just became free is not given away at once.
    `addresses`: of the pods' network.

    Raises ValueError if all are used.
    """
    size = addresses - _BEHIND - _FIRST
    start = max(last, _FIRST - 1) - _FIRST + 1
    for step in range(size):
        offset = _FIRST + (start + step) % size
        if offset not in used:
            return offset
    raise ValueError("no pod address is left")


def addresses(offset: int, v4: IPv4Network, v6: IPv6Network | None) -> tuple[str, ...]:
    """IPv4 first; IPv6 where the machine has it."""
    return (str(v4[offset]), *(() if v6 is None else (str(v6[offset]),)))
