"""A plain value → a struct of `kubernetes`, `istio` or `mesh`, or every Problem that keeps it from being one.

Most objects are right, and msgspec alone decodes them. For the others a walk over the struct's types finds all that is
wrong, and takes out what is not used. Where something is wrong, a blank value of the right type stands in for it, so
that what the checks have to say about the rest is heard as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from pilotfish.config import kubernetes, workloads
from pilotfish.config.fields import find_unused
from pilotfish.config.kubernetes import Struct
from pilotfish.config.report import Report
from pilotfish.config.schema import api_fields
from pilotfish.config.values import IntOrString, Quantity
from pilotfish.model import Duration, Severity
from pilotfish.model.private import REDACTED

S = TypeVar("S", bound=Struct)


class _Gone:
    """Stands for a value that is taken out."""


_GONE = _Gone()


def decode(value: object, kind: type[S], report: Report, path: str = "") -> S | None:
    """The struct is only good where the report holds no error; None where nothing can be made of the value."""
    try:
        return msgspec.convert(value, kind, dec_hook=_hook)
    except (msgspec.ValidationError, RecursionError):
        pass
    report.nulls_are_zero = kind.__module__ in (kubernetes.__name__, workloads.__name__)
    kept = _walk(_type_of(kind), value, path, report)
    if kept is _GONE:
        return None
    try:
        return msgspec.convert(kept, kind, dec_hook=_hook)
    except msgspec.ValidationError as error:
        if not report.errors:
            report.invalid(path, str(error), "see the kind's reference")
        return None


def _hook(kind: type, value: object) -> object:
    if kind is Duration:
        if not isinstance(value, str):
            raise TypeError("a duration is text such as 1h, 30s, 1.5s or 100ms")
        return Duration.parse(value)
    if kind is IntOrString and isinstance(value, int | str) and not isinstance(value, bool):
        return IntOrString(value)
    if kind is Quantity and isinstance(value, int | float | str) and not isinstance(value, bool):
        return Quantity.parse(str(value))
    raise TypeError("it must be a number, or text")


@cache
def _type_of(kind: type) -> inspect.Type:
    return inspect.type_info(kind)


@cache
def _fields_of(kind: type) -> dict[str, inspect.Field]:
    info = inspect.type_info(kind)
    return {field.encode_name: field for field in info.fields} if isinstance(info, inspect.StructType) else {}


def _walk(kind: inspect.Type, value: object, path: str, report: Report) -> Any:
    """The value without what is not used; `_GONE` where nothing can be made of it."""
    walker = _WALKERS.get(type(kind))
    return value if walker is None else walker(kind, value, path, report)


def _walk_struct(kind: inspect.StructType, value: object, path: str, report: Report) -> Any:
    if not isinstance(value, dict):
        return _wrong(path, "a mapping of fields", value, report)
    fields = _fields_of(kind.cls)
    kept: dict[str, object] = {}
    for name, item in value.items():
        field = fields.get(name)
        inner = f"{path}.{name}" if path else str(name)
        if field is None:
            _leave_out(kind.cls, name, item, inner, kept, value, report)
        elif item is not None:
            made = _walk(field.type, item, inner, report)
            if made is not _GONE:
                kept[name] = made
    for name, field in fields.items():
        if field.required and name not in kept:
            kept[name] = _blank(field.type)
            if value.get(name) is None:
                inner = f"{path}.{name}" if path else name
                report.missing(inner)
                report.take_out(inner)
    return kept


def _blank(kind: inspect.Type) -> object:
    match kind:
        case inspect.StructType():
            required = (field for field in kind.fields if field.required)
            return {field.encode_name: _blank(field.type) for field in required}
        case inspect.DictType():
            return {}
        case inspect.VarTupleType():
            return []
        case inspect.StrType():
            return ""
        case inspect.BoolType():
            return False
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.CustomType(cls=cls) if cls is Duration:
            return "0s"
        case inspect.UnionType():
            return None
        case _:
            return 0


def _leave_out(
    kind: type, name: str, item: object, path: str, kept: dict[str, object], value: dict[str, object], report: Report
) -> None:
    unused = find_unused(kind, name)
    if unused is None:
        report.error(
            path, "UnknownField", f"there is no such field, so the object is not used{_did_you_mean(kind, name)}"
        )
        report.take_out(path)
        return
    if item is None:
        return
    if unused.instead:
        kept.setdefault(unused.instead, value.get(unused.instead) or (item if unused.alias else {}))
    if unused.severity is None or item in unused.harmless:
        report.left_out.add(path)
        return
    report.add(path, "UnsupportedField", unused.consequence, unused.severity)
    report.left_out.add(path)
    if unused.severity is Severity.ERROR:
        report.take_out(path)


def _did_you_mean(kind: type, name: str) -> str:
    return _suggest(name, {*_fields_of(kind), *api_fields(kind)}, "; remove it, or check its name and indentation")


def _suggest(word: str, known: Iterable[str], otherwise: str) -> str:
    by_letters = {_letters(name): name for name in sorted(known)}
    close = get_close_matches(_letters(word), by_letters, n=1, cutoff=0.7)
    return f"; did you mean {by_letters[close[0]]!r}?" if close else otherwise


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _walk_map(kind: inspect.DictType, value: object, path: str, report: Report) -> Any:
    if not isinstance(value, dict):
        return _wrong(path, "a mapping", value, report)
    walked = {key: _walk_entry(kind.value_type, item, f"{path}[{key}]", report) for key, item in value.items()}
    return _without_gone(walked)


def _walk_entry(kind: inspect.Type, value: object, path: str, report: Report) -> Any:
    """In Kubernetes' own kinds, null in a list or a map is the type's zero value, as Go's JSON reads it; Istio's kinds
    have schemas that refuse it."""
    if value is None and report.nulls_are_zero:
        value = {} if isinstance(kind, inspect.StructType) else _blank(kind)
    return _walk(kind, value, path, report)


def _without_gone(items: dict[str, object]) -> dict[str, object]:
    return {key: item for key, item in items.items() if item is not _GONE}


def _walk_list(kind: inspect.VarTupleType, value: object, path: str, report: Report) -> Any:
    if not isinstance(value, list):
        return _wrong(path, "a list (each entry begins with a dash)", value, report)
    made = (_walk_entry(kind.item_type, item, f"{path}[{index}]", report) for index, item in enumerate(value))
    return [_blank(kind.item_type) if item is _GONE else item for item in made]


def _walk_union(kind: inspect.UnionType, value: object, path: str, report: Report) -> Any:
    """Every union here is a type or None."""
    if value is None:
        return None
    return _walk(next(t for t in kind.types if not isinstance(t, inspect.NoneType)), value, path, report)


def _walk_text(kind: inspect.StrType, value: object, path: str, report: Report) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float) or value is None:
        written = report.written(path)
        written = str(value) if written is None else written
        if report.is_secret:
            written = REDACTED
        named = {bool: "a truth value", type(None): "nothing"}.get(type(value), "a number")
        message = f'{written or "an empty value"} is read as {named}, and text is wanted; quote it: "{written}"'
        report.error(path, "WrongType", f"{message}. Until then the object is not used")
        report.take_out(path)
        return _GONE
    return _wrong(path, "text", value, report)


def _walk_number(kind: inspect.IntType, value: object, path: str, report: Report) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return _wrong(path, "a whole number", value, report)


def _walk_decimal(kind: inspect.FloatType, value: object, path: str, report: Report) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return _wrong(path, "a number", value, report)


def _walk_truth(kind: inspect.BoolType, value: object, path: str, report: Report) -> Any:
    return value if isinstance(value, bool) else _wrong(path, "true or false", value, report)


def _walk_choice(kind: inspect.LiteralType, value: object, path: str, report: Report) -> Any:
    if value in kind.values:
        return value
    choices = [str(choice) for choice in kind.values if choice]
    if not isinstance(value, str):
        return _wrong(path, f"one of {', '.join(choices)}", value, report)
    hint = _suggest(value, choices, "").removeprefix("; ")
    report.invalid(path, f"{value!r} is no value of this field", hint or f"write one of {', '.join(choices)}")
    report.take_out(path)
    return _GONE


def _walk_custom(kind: inspect.CustomType, value: object, path: str, report: Report) -> Any:
    try:
        _hook(kind.cls, value)
    except TypeError as error:
        return _wrong(path, str(error).removeprefix("it must be "), value, report)
    except ValueError as error:
        report.invalid(path, str(error), "correct it")
        report.take_out(path)
        return _GONE
    return value


def _wrong(path: str, wanted: str, value: object, report: Report) -> _Gone:
    found = {dict: "a mapping", list: "a list", str: "text", bool: "a truth value", type(None): "nothing"}
    named = found.get(type(value), "a number")
    hint = "; remove the quotes" if isinstance(value, str) and value.isdecimal() and "number" in wanted else ""
    report.error(path, "WrongType", f"{wanted} is wanted here, and this is {named}, so the object is not used{hint}")
    report.take_out(path)
    return _GONE


_WALKERS: dict[type, Callable[[Any, object, str, Report], Any]] = {
    inspect.StructType: _walk_struct,
    inspect.DictType: _walk_map,
    inspect.VarTupleType: _walk_list,
    inspect.UnionType: _walk_union,
    inspect.StrType: _walk_text,
    inspect.IntType: _walk_number,
    inspect.FloatType: _walk_decimal,
    inspect.BoolType: _walk_truth,
    inspect.LiteralType: _walk_choice,
    inspect.CustomType: _walk_custom,
}
