"""Whom to forward a DNS query to, and how long to wait for each.

A resolver that does not answer (a machine without a network often still names one) must not make every lookup of a pod
wait for it: after one failure it is asked last and gets little time, until it answers again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

PATIENCE: Final = 2.0
"""Seconds for a resolver that is not known to be down: less than the 5 that resolv.conf(5) gives each of ours."""
_IMPATIENCE: Final = 0.2
_GRUDGE: Final = 30.0
"""Seconds for which a failure is remembered."""


class Resolvers:
    """The machine's resolvers, IP addresses in the order of /etc/resolv.conf, and which of them failed of late."""

    __slots__ = ("_addresses", "_failed")

    def __init__(self, addresses: Iterable[str]) -> None:
        self._addresses = tuple(dict.fromkeys(addresses))
        self._failed: dict[str, float] = {}

    def plan(self, now: float) -> tuple[tuple[str, float], ...]:
        """Addresses with the seconds to wait for each, in the order to ask them."""
        down = {a for a in self._addresses if now - self._failed.get(a, now - _GRUDGE) < _GRUDGE}
        up = tuple((a, PATIENCE) for a in self._addresses if a not in down)
        return up + tuple((a, _IMPATIENCE) for a in self._addresses if a in down)

    def answered(self, address: str) -> None:
        self._failed.pop(address, None)

    def failed(self, address: str, now: float) -> None:
        self._failed[address] = now


def parse_resolv_conf(text: str) -> tuple[str, ...]:
    """The `nameserver` addresses of a resolv.conf(5)."""
    lines = (line.split() for line in text.splitlines())
    return tuple(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")
