"""`-f values.yaml` and `--set a.b=c` → Values, or every Problem of them.

A later file goes before an earlier one, `--set` before all files. A file's text is read as a manifest is; the value of
`--set` by what its field takes, so that `tag=1.10` is text and `autoscale.min=3` a number. `a={x,y}` is a list,
`a=null` takes out what stood there, a default too; a dot in a name is written `\\.`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
from msgspec import inspect

from pilotfish.config.decode import decode
from pilotfish.config.meshconfig import decode_mesh_config
from pilotfish.config.report import Report
from pilotfish.config.scalars import parse_scalar, tag_of
from pilotfish.config.text import read
from pilotfish.install.checks import check_values
from pilotfish.install.values import DEFAULTS, Values, as_tree
from pilotfish.model import Problem, Severity

SET: Final = "--set"
Tree = dict[str, Any]
_DOT: Final = re.compile(r"(?<!\\)\.")
_COMMA: Final = re.compile(r"(?<!\\),")


@dataclass(frozen=True, slots=True)
class Read:
    values: Values | None
    """None where a Problem is an error."""
    problems: tuple[Problem, ...]


class _Report(Report):
    """What it says of an object, it says of the installation."""

    def error(self, field: str, reason: str, message: str) -> None:
        super().error(field, reason, message.replace("the object is not used", "nothing is installed"))


def read_values(files: Iterable[tuple[str, str]] = (), settings: Iterable[str] = ()) -> Read:
    """`files`: name and text of each."""
    found: Tree = {}
    problems: list[Problem] = []
    for name, text in files:
        value, said = _read_file(name, text)
        problems += said
        _lay_over(found, value)
    for setting in settings:
        value, said = _read_setting(setting)
        problems += said
        _lay_over(found, value)
    values = None
    if not _has_errors(problems):
        whole = as_tree(DEFAULTS)
        _lay_over(whole, found)
        values = msgspec.convert(_without_nulls(whole), Values)
        report = _Report(None, "")
        check_values(values, report)
        problems += (replace(problem, source=None) for problem in report.problems)
    return Read(None if _has_errors(problems) else values, tuple(problems))


def _has_errors(problems: Iterable[Problem]) -> bool:
    return any(problem.severity is Severity.ERROR for problem in problems)


def _read_file(name: str, text: str) -> tuple[Tree, list[Problem]]:
    documents = tuple(read(text, name))
    if not documents:
        return {}, []
    report = _Report(None, name, documents[0].positions)
    for fault in documents[0].faults:
        report.add(fault.path, fault.reason, fault.message, Severity.ERROR, fault.line)
    if len(documents) > 1:
        report.error("", "NotValues", "a file of values is one document, so nothing is installed; remove the others")
    return _judge(documents[0].value, report)


def _judge(value: object, report: Report) -> tuple[Tree, list[Problem]]:
    decode(value, Values, report)
    if isinstance(value, dict) and isinstance(mesh_config := value.get("meshConfig"), dict):
        decode_mesh_config(mesh_config, report, "meshConfig")
    return value if isinstance(value, dict) else {}, report.problems


def _read_setting(setting: str) -> tuple[Tree, list[Problem]]:
    report = _Report(None, SET)
    path, equals, text = setting.partition("=")
    keys = [key.replace("\\.", ".") for key in _DOT.split(path)]
    if not equals or not all(keys):
        report.error("", "NotASetting", f"{setting!r} is none, so nothing is installed; write --set FIELD=VALUE")
        return {}, _unplaced(report)
    if "[" in path:
        report.error(
            path, "NotASetting", "--set sets whole lists, so nothing is installed; write FIELD={A,B}, or use -f"
        )
        return {}, _unplaced(report)
    made: Tree = {}
    place = made
    for key in keys[:-1]:
        place = place.setdefault(key, {})
    place[keys[-1]] = _value(text, _type_at(keys))
    _judge(made, report)
    return made, _unplaced(report)


def _unplaced(report: Report) -> list[Problem]:
    """An argument has no line."""
    return [replace(problem, source=None) for problem in report.problems]


def _type_at(keys: Iterable[str]) -> inspect.Type:
    """What the field takes; anything where it is not known."""
    kind: inspect.Type = inspect.type_info(Values)
    for key in keys:
        if isinstance(kind, inspect.StructType):
            kind = next((field.type for field in kind.fields if field.encode_name == key), inspect.AnyType())
        else:
            kind = kind.value_type if isinstance(kind, inspect.DictType) else inspect.AnyType()
    return kind


def _value(text: str, kind: inspect.Type) -> Any:
    if text == "null":
        return None
    if text.startswith("{") and text.endswith("}"):
        inner = kind.item_type if isinstance(kind, inspect.VarTupleType) else inspect.AnyType()
        return [_value(part.replace("\\,", ","), inner) for part in _COMMA.split(text[1:-1]) if part]
    if isinstance(kind, inspect.StrType | inspect.LiteralType):
        return text
    tag = tag_of(text)
    try:
        return parse_scalar(tag, text)
    except ValueError:
        return text


def _lay_over(base: Tree, over: Mapping[str, Any]) -> None:
    """Mappings are merged. Null stays, to take out what it comes to lie over."""
    for name, value in over.items():
        if isinstance(value, dict):
            held = base.get(name)
            base[name] = dict(held) if isinstance(held, dict) else {}
            _lay_over(base[name], value)
        else:
            base[name] = value


def _without_nulls(value: Tree) -> Tree:
    held = {name: _without_nulls(item) if isinstance(item, dict) else item for name, item in value.items()}
    return {name: item for name, item in held.items() if item is not None}
