"""Label selectors: `app=web,tier!=db,env in (a,b),canary,!old`. Pure.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import click

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


def _requirement(text: str) -> Requirement:
    if match := _SET.fullmatch(text):
        values = frozenset(value.strip() for value in match["values"].split(","))
        return Requirement(match["key"], values, match["operator"] == "notin")
    if match := _EQUAL.fullmatch(text):
        return Requirement(match["key"], frozenset({match["values"]}), match["operator"] == "!=")
    if match := _EXISTS.fullmatch(text):
        return Requirement(match["key"], None, match["operator"] == "!")
    raise click.UsageError(f'"{text}" is no label selector; use KEY=VALUE, KEY!=VALUE, KEY in (A,B), KEY or !KEY')
