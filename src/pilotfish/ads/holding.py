"""What a proxy holds of one type, and what it lacks of what it should hold.

A proxy's thousands of resources are not listed one by one: it holds what the shared layers hold, apart from a few
names. So a stream at rest costs a few hundred bytes however large the mesh.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from pilotfish.ads.diff import Differ, find

if TYPE_CHECKING:
    from pilotfish.envoy.values import Layer, Resource

Have: TypeAlias = "Resource | str | None"
"""A resource; its version alone (from an earlier stream); None where the proxy has nothing, or asks to be told."""

UNSURE: Final = "?"
"""The version of what the proxy has in one form or another."""


@dataclass(frozen=True, slots=True)
class Holding:
    layers: tuple[Layer, ...] = ()
    apart: Mapping[str, Have] = field(default_factory=dict)
    """The names whose state is another than that of the layers."""

    @property
    def is_empty(self) -> bool:
        return not self.layers and not self.apart

    def have(self, name: str) -> Have:
        return self.apart[name] if name in self.apart else find(self.layers, name)

    def but(self, changes: Mapping[str, Have]) -> Holding:
        return Holding(self.layers, {**self.apart, **changes}) if changes else self

    def without(self, names: Iterable[str]) -> Holding:
        gone = set(names)
        return Holding(self.layers, {n: have for n, have in self.apart.items() if n not in gone})


@dataclass(frozen=True, slots=True)
class Plan:
    """The way from a holding to the layers that it should equal."""

    layers: tuple[Layer, ...]
    changed: tuple[Resource, ...]
    removed: tuple[str, ...]
    """Names that the proxy has and should not have."""
    absent: tuple[str, ...]
    """Names that the proxy asks for and that do not exist: it waits to be told."""
    refused: Mapping[str, Have]
    """Names that stay apart, because the proxy refused the very version that it should have."""

    @property
    def is_done(self) -> bool:
        return not (self.changed or self.removed or self.absent)

    def after(self, holding: Holding, sent: Iterable[str], removed: Iterable[str]) -> Holding:
        """The holding once these changes and removals went out."""
        done = {*sent, *removed}
        names = (*(r.name for r in self.changed), *self.removed, *self.absent)
        left = [n for n in names if n not in done] if len(done) < len(names) else []
        return Holding(self.layers, {**self.refused, **{n: holding.have(n) for n in left}})


def plan(
    holding: Holding,
    layers: tuple[Layer, ...],
    names: frozenset[str],
    wildcard: bool,
    refused: Mapping[str, str],
    differ: Differ,
) -> Plan:
    """`names`: those subscribed one by one. `refused`: versions that the proxy refused; they are not offered again."""
    difference = differ.diff(holding.layers, layers)
    changed = [r for r in difference.changed if r.name not in holding.apart and (wildcard or r.name in names)]
    removed = [n for n in difference.removed if n not in holding.apart and (wildcard or n in names)]
    absent: list[str] = []
    stay: dict[str, Have] = {}
    for name, have in holding.apart.items():
        want = find(layers, name) if wildcard or name in names else None
        if want is None and have is not None:
            removed.append(name)
        elif want is None and name in names:
            absent.append(name)
        elif want is None:
            continue
        elif refused.get(name) == want.version:
            stay[name] = have
        elif version_of(have) != want.version:
            changed.append(want)
    return Plan(layers, tuple(changed), tuple(removed), tuple(absent), stay)


def version_of(have: Have) -> str | None:
    return have if have is None or isinstance(have, str) else have.version
