"""YAML text → a tree of nodes with their lines, by libyaml where PyYAML has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import yaml
from yaml.nodes import Node, ScalarNode, SequenceNode

from pilotfish.config.scalars import STRING, tag_of

DEEPEST = 100
"""Levels of nesting. The parser recurses in C, where too deep a text would end the process."""


class BoundError(Exception):
    """The text is YAML, and too much of it. `line` counts from 0."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class _Resolver:
    """Stands in for PyYAML's resolver: Kubernetes' rules, and a bound on nesting."""

    depth = 0

    def resolve(self, kind: type[Node], value: str, implicit: tuple[bool, bool] | bool) -> str:
        if kind is ScalarNode:
            return tag_of(value) if isinstance(implicit, tuple) and implicit[0] else STRING
        return "seq" if kind is SequenceNode else "map"

    def descend_resolver(self, parent: Node | None, index: object) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            line = parent.start_mark.line if parent is not None else 0
            raise BoundError(f"it is nested more than {DEEPEST} levels deep", line)

    def ascend_resolver(self) -> None:
        self.depth -= 1

    def check_resolver_prefix(self, *_: object) -> bool:
        return False


@cache
def _composer() -> Callable[[str], Any]:
    """PyYAML's composer: libyaml's where it is built in, else the one in Python."""
    if yaml.__with_libyaml__:
        from yaml._yaml import CParser

        return type("_CComposer", (_Resolver, CParser), {})
    from yaml import composer, parser, reader, scanner

    class _PurePython(_Resolver, reader.Reader, scanner.Scanner, parser.Parser, composer.Composer):
        def __init__(self, text: str) -> None:
            reader.Reader.__init__(self, text)
            scanner.Scanner.__init__(self)
            parser.Parser.__init__(self)
            composer.Composer.__init__(self)

    return _PurePython


def compose(text: str) -> Iterator[Node]:
    """Each document's root. Raises yaml.YAMLError, BoundError, or UnicodeError for what can't be encoded."""
    loader = _composer()(text)
    while loader.check_node():
        yield loader.get_node()
