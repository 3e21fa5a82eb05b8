"""docs/api.md's tables: every field of every kind, read off the structs that decode them and the tables of the rest.

The words about a field are the text below it in its struct.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache

import msgspec
from msgspec.inspect import (
    BoolType,
    CustomType,
    DictType,
    Field,
    FloatType,
    IntType,
    LiteralType,
    NoneType,
    StrType,
    StructType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from pilotfish.config.fields import Unused, find_unused
from pilotfish.config.kinds import STRUCTS
from pilotfish.config.kubernetes import Metadata, Pod, PodSpec
from pilotfish.config.mesh import MeshConfig
from pilotfish.config.schema import api_fields
from pilotfish.config.values import IntOrString, Quantity
from pilotfish.model import Duration, Kind, Severity
from pilotfish.model.kinds import UNSUPPORTED

WORKS, PASSED_OVER = "works", "passed over"
SAID = {Severity.INFO: "noted", Severity.WARNING: "warned of", Severity.ERROR: "refused"}
_ELSEWHERE: dict[type, str] = {Metadata: "as everywhere", PodSpec: "as a Pod's `spec`"}
"""Shown in one place, and then only named."""


def render_api() -> str:
    parts = [_section("metadata", "Of every kind.", _rows(Metadata, "metadata.", {}))]
    for kind, struct in STRUCTS.items():
        elsewhere = {part: said for part, said in _ELSEWHERE.items() if part is not PodSpec or struct is not Pod}
        parts.append(_section(str(kind), f"{_versions(kind)}.", _rows(struct, "", elsewhere)))
    head = "Where it stands: [Manifests](manifests.md#meshconfig)."
    parts.append(_section("meshConfig", head, _rows(MeshConfig, "", {})))
    return "\n".join((*parts, *_kinds_without_effect()))


def _section(title: str, head: str, rows: Iterator[str]) -> str:
    return "\n".join((f"## {title}\n\n{head}\n\n| field | takes | |\n|---|---|---|", *rows, ""))


def _versions(kind: Kind) -> str:
    return ", ".join(f"`{version}`" for version in kind.api_versions)


def _rows(struct: type, prefix: str, known: dict[type, str]) -> Iterator[str]:
    """`known`: the structs that were shown, and what is said where they come again."""
    words = _words(struct)
    info = type_info(struct)
    assert isinstance(info, StructType)
    for field in info.fields:
        path, part = f"{prefix}{field.encode_name}{_suffix(field.type)}", _struct_in(field.type)
        said = words.get(field.name, "")
        if part is None:
            yield _row(f"`{path}`", _takes(field), _works(said))
        elif part in known or not msgspec.structs.fields(part):
            yield _row(f"`{path}`", known.get(part, "{}"), _works(said) if said else "")
        else:
            if said:
                yield _row(f"`{path}`", "", _works(said))
            known[part] = f"as `{path}`"
            yield from _rows(part, f"{path}.", known)
    yield from _unused_rows(struct, prefix)


def _unused_rows(struct: type, prefix: str) -> Iterator[str]:
    """Those of which the same is to be said are in one row."""
    used = {field.encode_name for field in msgspec.structs.fields(struct)}
    grouped: dict[str, list[str]] = {}
    for name in sorted(api_fields(struct) - used):
        unused = find_unused(struct, name)
        assert unused is not None
        grouped.setdefault(_consequence(unused), []).append(name)
    for said, names in grouped.items():
        yield _row(", ".join(f"`{prefix}{name}`" for name in names), "", said)


def _consequence(unused: Unused) -> str:
    if unused.alias:
        return f"{WORKS}: another name of `{unused.instead}`"
    if unused.severity is None:
        return PASSED_OVER
    plain = [_shown(value) for value in unused.harmless if value not in ("", [], {}, False)]
    harmless = f"; nothing is said of {' and '.join(plain)}" if plain else ""
    return f"{SAID[unused.severity]}: {unused.consequence}{harmless}"


def _works(said: str) -> str:
    return f"{WORKS}. {said}" if said else WORKS


def _row(field: str, takes: str, said: str) -> str:
    return f"| {field} | {takes} | {said} |".replace("\n", " ").replace("  ", " ")


def _takes(field: Field) -> str:
    shown = _kind_of(field.type)
    if field.required:
        return f"{shown}; required"
    default = field.default
    if default in (msgspec.NODEFAULT, None, "", 0, False, (), Duration(0)):
        return shown
    return f"{shown}; {_shown(default)} if it is left out"


def _shown(value: object) -> str:
    match value:
        case bool():
            return f"`{value}`".lower()
        case IntOrString():
            return f"`{value.value}`"
        case tuple() | list():
            return f"`[{', '.join(value)}]`"
        case _:
            return f"`{value}`"


def _kind_of(kind: Type) -> str:
    match kind:
        case StrType():
            return "text"
        case BoolType():
            return "true or false"
        case IntType():
            return "whole number"
        case FloatType():
            return "number"
        case LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in values if value)
        case CustomType(cls=cls):
            return {Duration: "duration", Quantity: "quantity"}.get(cls, "number or text")
        case DictType(value_type=inner):
            return f"map to {_kind_of(inner)}"
        case VarTupleType(item_type=inner):
            return f"list of {_kind_of(inner)}"
        case UnionType(types=types):
            return next(_kind_of(each) for each in types if not isinstance(each, NoneType))
        case _:
            raise TypeError(f"say how {kind} is shown")


def _suffix(kind: Type) -> str:
    """What is written behind the name of a field that holds structs."""
    if _struct_in(kind) is None:
        return ""
    return {VarTupleType: "[]", DictType: "[KEY]"}.get(type(kind), "")


def _struct_in(kind: Type) -> type | None:
    match kind:
        case StructType(cls=cls):
            return cls
        case DictType(value_type=inner) | VarTupleType(item_type=inner):
            return _struct_in(inner)
        case UnionType(types=types):
            return next((found for found in map(_struct_in, types) if found), None)
        case _:
            return None


@cache
def _words(struct: type) -> dict[str, str]:
    """The text below each field of a struct, or of what it inherits."""
    found = {}
    for base in reversed(struct.__mro__):
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct:
            (parsed,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            assert isinstance(parsed, ast.ClassDef)
            for field, text in zip(parsed.body, parsed.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                    assert isinstance(field.target, ast.Name)
                    found[field.target.id] = inspect.cleandoc(ast.literal_eval(text.value))
    return found


def _kinds_without_effect() -> Iterator[str]:
    yield "## Kinds without effect\n\n| kind | | |\n|---|---|---|"
    for kind in UNSUPPORTED:
        assert kind.without_effect is not None
        said = kind.without_effect
        yield _row(str(kind), _versions(kind), f"{SAID[said.severity]}: {said.message}")
    yield ""
