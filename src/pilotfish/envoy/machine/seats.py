"""Which pods of a machine see the same, and what that is called.

As a rule all pods of a Kubernetes namespace do: they are told by how the paths of their network namespaces begin, so
that one more of them is no news. Those that see otherwise are told by their paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from pilotfish.mesh.listeners.inbound import Inbound
from pilotfish.mesh.scope import EVERYONE, Scope
from pilotfish.mesh.security.guards import Guard


@dataclass(frozen=True, slots=True)
class Home:
    """One pod that the machine's proxy serves."""

    pod: str
    """`webapp-0.vm`."""
    namespace: str
    netns: str
    """The file of its network namespace."""
    scope: Scope
    inbound: Inbound
    guard: Guard
    draining: bool = False
    """Who calls it is to end: its listener for others is taken away, and drains."""


@dataclass(frozen=True, slots=True)
class Seats:
    """Who sees what."""

    prefixes: tuple[tuple[str, Scope], ...] = ()
    """By how the paths of network namespaces begin."""
    paths: tuple[tuple[str, Scope], ...] = ()
    """By whole paths, before the others."""

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Each once, in order of their labels."""
        return tuple(sorted({scope for _, scope in (*self.prefixes, *self.paths)}, key=label))


def seat(homes: Iterable[Home], prefix: str) -> Seats:
    """`prefix`: as `Proxy.netns_prefix`."""
    by_namespace: dict[str, dict[str, Scope]] = {}
    for home in homes:
        by_namespace.setdefault(home.namespace, {})[home.netns] = home.scope
    usual = {namespace: min(seen.values(), key=_peculiarity) for namespace, seen in by_namespace.items()}
    others = _others(by_namespace, usual)
    return Seats(tuple(sorted((f"{prefix}{name}.", scope) for name, scope in usual.items())), tuple(sorted(others)))


def _others(by_namespace: Mapping[str, Mapping[str, Scope]], usual: Mapping[str, Scope]) -> Iterator[tuple[str, Scope]]:
    for namespace, seen in by_namespace.items():
        yield from ((path, scope) for path, scope in seen.items() if scope != usual[namespace])


def _peculiarity(scope: Scope) -> tuple[int, str]:
    told = (scope.labels, scope.selected_by, scope.egress, scope.place != EVERYONE.place)
    return sum(map(bool, told)), label(scope)


def label(scope: Scope) -> str:
    """What is called after it in names: its namespace, with a hash where it is not all that counts; "" of what
    everybody sees."""
    if scope == Scope(scope.namespace):
        return scope.namespace
    return f"{scope.namespace}.{digest(scope)}"


def digest(value: object) -> str:
    """Eight hexadecimal digits, the same in each process."""
    return blake2b(msgspec.json.encode(value, enc_hook=str, order="deterministic"), digest_size=4).hexdigest()
