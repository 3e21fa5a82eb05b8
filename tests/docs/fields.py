"""The fields that each kind understands, as docs/manifests.md lists them: read off the structs that decode them."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from pilotfish.config import istio, kubernetes
from pilotfish.config.kinds import STRUCTS
from pilotfish.config.kubernetes import Metadata, PodSpec, Struct
from pilotfish.config.mesh import MeshConfig

_OURS = {**vars(kubernetes), **vars(istio)}
_KNOWN: dict[type[Struct], str] = {Metadata: "as everywhere", PodSpec: "as a Pod's"}
"""Shown in their first place, and then only named."""


def render_fields() -> str:
    """A block for each kind: plain fields behind their struct's name, structs inside of it below."""
    blocks = ["\n".join(_lines({"metadata": Metadata}, 0, {}))]
    for kind, struct in STRUCTS.items():
        known = {part: said for part, said in _KNOWN.items() if part is not PodSpec or struct is not kubernetes.Pod}
        blocks.append("\n".join(_lines({f"{kind} ({kind.api_versions[0]})": struct}, 0, known)))
    blocks.append("\n".join(_lines({"meshConfig": MeshConfig}, 0, {})))
    return "\n\n".join(blocks) + "\n"


def _lines(structs: dict[str, type[Struct]], depth: int, known: dict[type[Struct], str]) -> Iterator[str]:
    for part in dict.fromkeys(structs.values()):
        names = [name for name, each in structs.items() if each is part]
        head = f"{'  ' * depth}{', '.join(names)}"
        if depth and part in known:
            if part is not Metadata:
                yield f"{head}: {known[part]}"
            continue
        known = {**known, part: f"as in {names[0]}"}
        plain, inner = _fields(part)
        yield f"{head}: {' '.join(plain)}" if plain else head
        yield from _lines(inner, depth + 1, known)


def _fields(struct: type[Struct]) -> tuple[list[str], dict[str, type[Struct]]]:
    """(names of plain fields, name → struct of the others)."""
    hints = get_type_hints(struct, localns={**_OURS, **vars(struct)})
    plain, inner = [], {}
    for field in msgspec.structs.fields(struct):
        suffix, part = _struct_in(hints[field.name])
        if part is None:
            plain.append(field.encode_name)
        else:
            inner[field.encode_name + suffix] = part
    return plain, inner


def _struct_in(hint: Any) -> tuple[str, type[Struct] | None]:
    """What is written behind the field's name, and the struct that it holds, if any."""
    origin = get_origin(hint)
    if origin in (UnionType, Union):
        return next((found for found in map(_struct_in, get_args(hint)) if found[1]), ("", None))
    if origin is tuple:
        return "[]", _struct_in(get_args(hint)[0])[1]
    if origin is dict:
        return "[KEY]", _struct_in(get_args(hint)[1])[1]
    return "", hint if isinstance(hint, type) and issubclass(hint, Struct) else None
