"""Where two forms of an object differ: what of it may have led to a refusal of the later one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_NOT_MEANT: Final = frozenset({"apiVersion", "kind", "metadata", "status"})


def changed_field(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """The path of the smallest part of the later form that holds all that differs; "" for none, or all of it."""
    return _deepest(
        {name: value for name, value in before.items() if name not in _NOT_MEANT},
        {name: value for name, value in after.items() if name not in _NOT_MEANT},
        "",
    )


def _deepest(before: object, after: object, path: str) -> str:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        if len(names) == 1 and names[0] in after:
            (name,) = names
            return _deepest(before.get(name), after[name], f"{path}.{name}" if path else name)
    elif isinstance(before, list) and isinstance(after, list):
        places = [i for i, item in enumerate(after) if i >= len(before) or before[i] != item]
        if len(places) == 1 and len(before) <= len(after):
            (place,) = places
            return _deepest(before[place] if place < len(before) else None, after[place], f"{path}[{place}]")
    return path
