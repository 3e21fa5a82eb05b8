"""What names resolve to: the table that discovery makes and every agent's DNS answers from."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from pilotfish.model.wellknown import CLUSTER_DOMAIN


class Port(NamedTuple):
    """One port of a Service, as SRV records tell it."""

    label: str
    """`_http._tcp`; "" for a port without a name."""
    number: int
    at: tuple[str, ...] = ()
    """A headless Service's: the addresses that have it under this number, where not all do."""


@dataclass(frozen=True)
class NameTable:
    """Names are in lower case, and have no dot at the end."""

    version: str = ""
    """A hash of the rest; "" for the table of an agent that has none yet."""
    records: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)
    """IPv4 and IPv6 addresses by name; `*.example.com` stands for every name below. No address: the name exists (it is
    headless, and no pod is ready)."""
    ports: Mapping[str, tuple[Port, ...]] = field(default_factory=dict, compare=False, repr=False)
    """Those of each Kubernetes Service, by host."""
    headless: Set[str] = field(default=frozenset(), compare=False, repr=False)
    """The hosts that stand for pods. Names right below them are those of single pods."""
    aliases: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Names that stand for another, which may be one of these, of the records, or of the outside world."""

    @cached_property
    def names(self) -> Mapping[bytes, tuple[str, ...]]:
        """By packed address: who has it alone. A headless host shares its pods' addresses with their own names."""
        found: dict[bytes, list[str]] = {}
        for name, addresses in self.records.items():
            if name not in self.headless and not name.startswith("*"):
                for packed in filter(None, map(pack_address, addresses)):
                    found.setdefault(packed, []).append(name)
        return {address: tuple(names) for address, names in found.items()}

    @cached_property
    def clusters(self) -> NameTable:
        """The cluster's names alone, which Envoy itself is answered from. A ServiceEntry's host has an address that
        leads to the proxy, and the proxy is to find the one behind it: Istio's asks the cluster's DNS."""
        records = {name: addresses for name, addresses in self.records.items() if in_cluster(name)}
        return self if len(records) == len(self.records) else replace(self, records=records)

    @cached_property
    def branches(self) -> Set[str]:
        """The names that only have others below them, such as `vm.svc.cluster.local`."""
        found: set[str] = set()
        for name in (*self.records, *self.aliases):
            while (name := name.partition(".")[2]) and name not in found:
                found.add(name)
        return found


def in_cluster(name: str) -> bool:
    """Whether the table is the whole truth about it."""
    return name == CLUSTER_DOMAIN or name.endswith(f".{CLUSTER_DOMAIN}")


@lru_cache(maxsize=4096)
def pack_address(text: str) -> bytes | None:
    """4 or 16 bytes in network order; None for what is no address."""
    try:
        return ip_address(text).packed
    except ValueError:
        return None
