"""Label selectors: `app=web,tier!=db,env in (a,b),canary,!old`; and field selectors: `status.phase!=Running`. Pure.

Sources: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors and
https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pilotfish.cli.jsonpath import Path

_SET = re.compile(r"(?P<key>[^\s=!,()]+)\s+(?P<operator>in|notin)\s+\((?P<values>[^()]*)\)")
_EQUAL = re.compile(r"(?P<key>[^\s=!,()]+)\s*(?P<operator>==?|!=)\s*(?P<values>[^\s=!,()]*)")
_EXISTS = re.compile(r"(?P<operator>!?)\s*(?P<key>[^\s=!,()]+)")
_COMMA = re.compile(r",(?![^()]*\))")


@dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    values: frozenset[str] | None
    """None: the key need only be there."""
    negated: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        found = self.key in labels if self.values is None else labels.get(self.key) in self.values
        return found != self.negated


Selector = tuple[Requirement, ...]


def parse_selector(text: str) -> Selector:
    """Raises click.UsageError for text that is no selector. "" selects everything."""
    return tuple(_requirement(part.strip()) for part in _COMMA.split(text)) if text.strip() else ()


def selects(selector: Selector, labels: Mapping[str, str]) -> bool:
    return all(requirement.matches(labels) for requirement in selector)


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    path: Path
    value: str
    negated: bool

    def matches(self, document: object) -> bool:
        """A field that is not there is an empty text."""
        from pilotfish.cli.jsonpath import show

        found = [show(value) for value in self.path.find(document)] or [""]
        return (self.value in found) != self.negated


def parse_fields(text: str) -> tuple[FieldRequirement, ...]:
    """Raises click.UsageError for text that is no field selector. "" selects everything."""
    if not text.strip():
        return ()
    from pilotfish.cli.jsonpath import BadPath, parse_path

    found = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([^=!]+?)\s*(==?|!=)\s*(.*?)\s*", part)
        if match is None:
            raise click.UsageError(f'"{part}" is no field selector; use FIELD=VALUE or FIELD!=VALUE')
        try:
            found.append(FieldRequirement(parse_path(match[1]), match[3], match[2] == "!="))
        except BadPath as error:
            raise click.UsageError(f"--field-selector: {error}") from error
    return tuple(found)


def _requirement(text: str) -> Requirement:
    if match := _SET.fullmatch(text):
        values = frozenset(value.strip() for value in match["values"].split(","))
        return Requirement(match["key"], values, match["operator"] == "notin")
    if match := _EQUAL.fullmatch(text):
        return Requirement(match["key"], frozenset({match["values"]}), match["operator"] == "!=")
    if match := _EXISTS.fullmatch(text):
        return Requirement(match["key"], None, match["operator"] == "!")
    raise click.UsageError(f'"{text}" is no label selector; use KEY=VALUE, KEY!=VALUE, KEY in (A,B), KEY or !KEY')
