"""Which fields the APIs have where pilotfish has a struct, whether or not the struct has them.

api_fields.FIELDS ─▶ messages ─┐
kinds.STRUCTS ─────▶ structs ──┴─ walked side by side ─▶ struct → names
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from msgspec import inspect

from pilotfish.config.api_fields import FIELDS
from pilotfish.config.kinds import STRUCTS
from pilotfish.config.mesh import MeshConfig


def api_fields(struct: type) -> frozenset[str]:
    """The names of all fields that the API has in the struct's place; none for one that no kind holds."""
    return by_struct().get(struct, frozenset())


@cache
def messages() -> Mapping[str, Mapping[str, str]]:
    """Message → its fields → the message that each holds, or ""."""
    found = {}
    for line in FIELDS.replace("\n ", " ").splitlines():
        name, *fields = line.split()
        found[name] = {field: held for field, _, held in (part.partition(":") for part in fields)}
    return found


@cache
def by_struct() -> Mapping[type, frozenset[str]]:
    found: dict[type, frozenset[str]] = {}
    roots = [*(kind.qualified for kind in STRUCTS), "mesh.MeshConfig"]
    reached = list(zip(inspect.multi_type_info([*STRUCTS.values(), MeshConfig]), roots, strict=True))
    seen: set[tuple[type, str]] = set()
    for kind, message in reached:
        for part in _structs_in(kind):
            if (part.cls, message) not in seen:
                seen.add((part.cls, message))
                fields = messages()[message]
                found[part.cls] = found.get(part.cls, frozenset()) | fields.keys()
                reached += ((f.type, fields[f.encode_name]) for f in part.fields if fields.get(f.encode_name))
    return found


def _structs_in(kind: inspect.Type) -> Iterator[inspect.StructType]:
    """What stands in a type's place, in its list, in its map, or in it if it is not None."""
    match kind:
        case inspect.StructType():
            yield kind
        case inspect.DictType():
            yield from _structs_in(kind.value_type)
        case inspect.VarTupleType():
            yield from _structs_in(kind.item_type)
        case inspect.UnionType():
            for each in kind.types:
                yield from _structs_in(each)
