"""Pods' addresses: 10.N.0.2 and up, with the IPv6 address of the same number beside it."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network

_FIRST = 2
_LAST = 0xFFFD
"""10.N.255.253; the next one is the host's."""


def next_offset(used: Collection[int], last: int) -> int:
    """The first free offset after `last`, round about: an address that just became free is not given away at once.

    Raises ValueError if all are used.
    """
    size = _LAST - _FIRST + 1
    start = max(last, _FIRST - 1) - _FIRST + 1
    for step in range(size):
        offset = _FIRST + (start + step) % size
        if offset not in used:
            return offset
    raise ValueError("no pod address is left")


def addresses(offset: int, v4: IPv4Network, v6: IPv6Network | None) -> tuple[str, ...]:
    """IPv4 first; IPv6 where the machine has it."""
    return (str(v4[offset]), *(() if v6 is None else (str(v6[offset]),)))
