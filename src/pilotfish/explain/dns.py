"""What a name resolves to for an app of a pod: its resolver's search list, and the pod's name table.

Source: resolv.conf(5), `search` and `ndots`; `agent.names` answers the queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pilotfish.agent.names import find_addresses
from pilotfish.explain.trace import Rejected
from pilotfish.model.names import NameTable, in_cluster
from pilotfish.model.wellknown import CLUSTER_DOMAIN, SERVICE_DOMAIN, namespace_domain

_DOTS: Final = 5
"""`options ndots:5`: a name with as many dots is asked for as it is first."""
_MOST_ALIASES: Final = 8


@dataclass(frozen=True, slots=True)
class Resolved:
    name: str = ""
    """The whole name that was found; "" where none was."""
    addresses: tuple[str, ...] = ()
    outside: bool = False
    """The mesh has no such name; the machine's resolvers are asked for it."""
    rejected: tuple[Rejected, ...] = ()
    """The names that were asked for before."""


def resolve(host: str, namespace: str, table: NameTable) -> Resolved:
    asked: list[Rejected] = []
    for name in _candidates(host.lower(), namespace):
        target, aliases = name, 0
        while target in table.aliases and aliases < _MOST_ALIASES:
            target, aliases = table.aliases[target], aliases + 1
        found = find_addresses(target, table)
        if found:
            return Resolved(name, found, rejected=tuple(asked))
        if found is None and not in_cluster(target):
            return Resolved(target, outside=True, rejected=tuple(asked))
        why = "it exists, and has no address: no endpoint is ready" if found == () else "there is no such name"
        asked.append(Rejected(name, why))
    return Resolved(rejected=tuple(asked))


def _candidates(host: str, namespace: str) -> Iterator[str]:
    name = host.rstrip(".")
    if host.endswith("."):
        yield name
        return
    searched = [f"{name}.{domain}" for domain in (namespace_domain(namespace), SERVICE_DOMAIN, CLUSTER_DOMAIN)]
    yield from (name, *searched) if name.count(".") >= _DOTS else (*searched, name)
