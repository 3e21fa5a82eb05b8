"""What differs between two tuples of layers, worked out once for all streams."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pilotfish.envoy.values import Layer, Resource

_KEPT = 64


@dataclass(frozen=True, slots=True)
class Difference:
    changed: tuple[Resource, ...]
    """Resources that are new, or have another version."""
    removed: tuple[str, ...]
    """Names that are no longer there."""


_NONE = Difference((), ())


def find(layers: tuple[Layer, ...], name: str) -> Resource | None:
    """The resource of that name, whichever layer holds it."""
    for layer in layers:
        resource = layer.get(name)
        if resource is not None:
            return resource
    return None


class Differ:
    """Remembers the latest differences, by the layers' versions: 500 proxies that share a layer cost one comparison."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[tuple[str, ...], tuple[str, ...]], Difference] = OrderedDict()

    def diff(self, old: tuple[Layer, ...], new: tuple[Layer, ...]) -> Difference:
        if old is new:
            return _NONE
        before, after = _without_common(old, new)
        if not before and not after:
            return _NONE
        if not before:
            return Difference(tuple(resource for layer in after for resource in layer.values()), ())
        key = tuple(layer.version for layer in before), tuple(layer.version for layer in after)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _compare(before, after)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return known


def _without_common(old: tuple[Layer, ...], new: tuple[Layer, ...]) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    olds, news = {layer.version for layer in old}, {layer.version for layer in new}
    return (
        tuple(layer for layer in old if layer.version not in news),
        tuple(layer for layer in new if layer.version not in olds),
    )


def _compare(old: tuple[Layer, ...], new: tuple[Layer, ...]) -> Difference:
    changed = tuple(
        resource
        for layer in new
        for name, resource in layer.items()
        if (had := find(old, name)) is None or had.version != resource.version
    )
    removed = tuple(name for layer in old for name in layer if find(new, name) is None)
    return Difference(changed, removed)
