"""Objects from the structs that decode them: whatever a struct can hold is tried, and nothing needs to be told here.

    struct ─draw─▶ document ─load─▶ Problems ─mend─▶ document that is right

A document that was drawn is seldom right. What is wrong with it is mended as its Problems say: what is missing is
drawn, what is wrong is drawn anew, and what stays wrong is taken out. So a Problem has to name a field that is there,
or one that what is there may have; that is held, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from hypothesis import strategies as st
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

from pilotfish.config import load, load_mesh_config
from pilotfish.config.kinds import STRUCTS
from pilotfish.config.kubernetes import Metadata
from pilotfish.config.mesh import MeshConfig
from pilotfish.config.paths import steps
from pilotfish.model import Duration, Kind, Problem, Severity
from tests.fuzz import words

T = TypeVar("T")
Document = dict[str, Any]
Path = tuple[str, ...]
"""Names of fields, the outermost first."""
_MOST_BESIDE = 2
"""So many fields are drawn of a struct beside those that it is to have."""
_SELDOM = 12
"""Of so many values one is what nobody would write there."""
_MOST_ROUNDS = 40
_GENTLE_ROUNDS = 12
"""In which what is wrong is drawn anew. Afterwards it is taken out."""
_OFTEN = {True: 12, False: 4}
"""How many times likelier than another a kind is that discovery reads: of Istio's, of Kubernetes'."""


class Drawer:
    """Draws values of types."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def one_of(self, values: Sequence[T]) -> T:
        return self._draw(st.sampled_from(values))

    def value(self, kind: Type, field: str, parent: str, toward: Path = ()) -> Any:
        """`field` is what the value stands in, `parent` what the struct that has the field stands in. `toward` are the
        fields below it that it has in any case."""
        match kind:
            case StructType():
                return self.struct(kind, field, toward)
            case UnionType(types=types):
                inner = next(each for each in types if not isinstance(each, NoneType))
                return self.value(inner, field, parent, toward)
            case VarTupleType(item_type=item):
                return [self.value(item, field, parent, toward) for _ in range(self._draw(st.integers(1, 2)))]
            case DictType(value_type=inner):
                return self._mapping(inner, field, parent, toward)
            case LiteralType(values=values):
                return self.one_of(values)
            case BoolType():
                return self._draw(st.booleans())
            case IntType():
                return self.some(words.numbers(field, parent), words.STRANGE_NUMBERS)
            case FloatType():
                return self.some(words.DECIMALS, words.STRANGE_NUMBERS)
            case StrType():
                return self.some(words.texts(field, parent), words.STRANGE_TEXTS)
            case CustomType(cls=cls) if cls is Duration:
                return self.some(words.DURATIONS, words.STRANGE_TEXTS)
            case CustomType():
                return self.one_of((80, 8080, "http", "25%", 1))
            case _:
                raise TypeError(f"say how {kind} is drawn")

    def some(self, usual: Sequence[T], strange: Sequence[T]) -> T:
        """One of the usual, or now and then a strange one."""
        return self.one_of(strange if self._draw(st.integers(1, _SELDOM)) == _SELDOM else usual)

    def _mapping(self, inner: Type, field: str, parent: str, toward: Path) -> Document:
        chosen = self._draw(st.lists(st.sampled_from(words.keys(field)), min_size=1, max_size=2, unique=True))
        if isinstance(inner, StrType) and words.LABELS.keys() >= set(chosen):
            return {key: self.one_of(words.LABELS[key]) for key in chosen}
        return {key: self.value(inner, field, parent, toward) for key in chosen}

    def struct(self, kind: StructType, place: str, toward: Path = ()) -> Document:
        """Any field of it, however deep, is as likely to be there as another."""
        toward = toward or self.one_of(leaves(kind.cls))
        others = [field for field in kind.fields if not field.required]
        some = st.lists(st.sampled_from(others), max_size=min(_MOST_BESIDE, len(others)), unique_by=_name)
        chosen = self._draw(some) if others else []
        wanted = [f for f in kind.fields if f.required or f in chosen or f.encode_name in toward[:1]]
        return {
            f.encode_name: self.value(f.type, f.encode_name, place, toward[1:] if f.encode_name in toward[:1] else ())
            for f in wanted
        }


@cache
def leaves(struct: type) -> tuple[Path, ...]:
    """The ways to all fields that hold no structs, but for metadata; `()` for a struct that has none."""
    found: list[Path] = []
    for field in info(struct).fields:
        inner = _struct_in(field.type)
        if inner is not Metadata:
            found += ((field.encode_name, *rest) for rest in (((),) if inner is None else leaves(inner)))
    return tuple(found) or ((),)


def _struct_in(kind: Type) -> type | None:
    match kind:
        case StructType(cls=cls):
            return cls
        case VarTupleType(item_type=inner) | DictType(value_type=inner):
            return _struct_in(inner)
        case UnionType(types=types):
            return next(filter(None, map(_struct_in, types)), None)
        case _:
            return None


def _name(field: Field) -> str:
    return field.encode_name


@cache
def info(struct: type) -> StructType:
    found = type_info(struct)
    assert isinstance(found, StructType)
    return found


KINDS = [kind for kind in STRUCTS for _ in range(_OFTEN[kind.is_istio] if kind.discovery else 1)]


@st.composite
def drawn_objects(draw: st.DrawFn, kinds: Sequence[Kind] = KINDS) -> Document:
    """A document of one of the kinds. It is seldom right."""
    return _object(Drawer(draw), draw(st.sampled_from(kinds)))


def _object(drawer: Drawer, kind: Kind) -> Document:
    head = {"apiVersion": drawer.one_of(kind.api_versions), "kind": kind.name}
    return {**head, **drawer.struct(info(STRUCTS[kind]), ""), "metadata": _metadata(drawer)}


def _metadata(drawer: Drawer) -> Document:
    made: Document = {"name": drawer.one_of(words.NAMES), "namespace": drawer.one_of(words.NAMESPACES)}
    if drawer.one_of((True, False)):
        made["creationTimestamp"] = drawer.one_of(words.texts("creationTimestamp", "metadata"))
    labels = {key: drawer.one_of(values) for key, values in words.LABELS.items() if drawer.one_of((True, False, False))}
    return {**made, "labels": labels, "annotations": _annotations(drawer)}


def _annotations(drawer: Drawer) -> dict[str, str]:
    if not drawer.one_of((True, False)):
        return {}
    key = drawer.one_of(tuple(words.ANNOTATIONS))
    return {key: drawer.some(words.ANNOTATIONS[key], words.STRANGE_TEXTS)}


@st.composite
def right_objects(draw: st.DrawFn, kinds: Sequence[Kind] = KINDS) -> Document:
    """A document of one of the kinds that is used as it stands; an empty one where no such one was found."""
    drawer, kind = Drawer(draw), draw(st.sampled_from(kinds))
    document = _object(drawer, kind)
    return _mended(document, info(STRUCTS[kind]), drawer, lambda text: load(text, "in.yaml").problems)


@st.composite
def right_mesh_configs(draw: st.DrawFn) -> Document:
    drawer, kind = Drawer(draw), info(MeshConfig)
    return _mended(drawer.struct(kind, ""), kind, drawer, lambda text: load_mesh_config(text, "mesh.yaml")[1])


def _mended(
    document: Document, kind: StructType, drawer: Drawer, read: Callable[[str], tuple[Problem, ...]]
) -> Document:
    """The document, until no error is left; an empty one if that takes too long."""
    for round in range(_MOST_ROUNDS):
        errors = [problem for problem in read(json.dumps(document)) if problem.severity is Severity.ERROR]
        if not errors or not document:
            return document
        _mend(document, kind, steps(errors[0].field), drawer, gentle=round < _GENTLE_ROUNDS)
    return {}


def _mend(document: Document, kind: StructType, named: Sequence[str], drawer: Drawer, *, gentle: bool) -> None:
    """What is missing is drawn, what is wrong is drawn anew, or else what it stands in is taken out."""
    path = _written(document, named)
    parent, last = _at(document, path[:-1]), path[-1]
    field = _field_at(kind, path)
    is_in_text = len(path) < len(named) and _at(document, path) is not None
    if gentle and field is not None and not is_in_text:
        parent[last] = drawer.value(field.type, last, path[-2] if len(path) > 1 else "")
    elif isinstance(parent, list) or last in parent:
        _take_out(parent, last)
    elif len(path) > 1:
        _take_out(_at(document, path[:-2]), path[-2])
    else:
        document.clear()


def _take_out(parent: Any, step: str) -> None:
    if isinstance(parent, list):
        del parent[int(step)]
    else:
        del parent[step]


def _written(document: Any, path: Sequence[str]) -> Sequence[str]:
    """The path as far as the document goes: to what is not there, or to a text, into which an annotation's leads."""
    for length in range(1, len(path)):
        if _at(document, path[:length]) is None or isinstance(_at(document, path[:length]), str):
            return path[:length]
    return path


def _at(document: Any, path: Sequence[str]) -> Any:
    """What stands there; None for nothing."""
    value = document
    for step in path:
        value = value[int(step)] if isinstance(value, list) else value.get(step)
    return value


def _field_at(kind: Type, path: Sequence[str]) -> Field | None:
    """The struct's field at a path; None for an entry of a list or a map."""
    found: Field | None = None
    for step in path:
        match _inside(kind):
            case StructType(fields=fields):
                found = next((field for field in fields if field.encode_name == step), None)
                if found is None:
                    return None
                kind = found.type
            case VarTupleType(item_type=inner) | DictType(value_type=inner):
                found, kind = None, inner
    return found


def _inside(kind: Type) -> Type:
    """Of a type or None, the type."""
    if isinstance(kind, UnionType):
        return next(each for each in kind.types if not isinstance(each, NoneType))
    return kind
