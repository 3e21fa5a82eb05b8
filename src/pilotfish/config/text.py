"""Text → Documents: plain values, and where each field was written.

YAML (several documents, each read for itself, so that a slip in one leaves the others alone) or JSON. Bounds: nesting
and what aliases expand to, so that a small text can't grow into a large value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, cast

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pilotfish.config.scalars import MERGE, STRING, parse_scalar, tag_of

DEEPEST = 100
"""Levels of nesting. The parser recurses in C, where too deep a text would end the process."""
LARGEST = 2_000_000
"""Values in one document, aliases counted as often as they are used."""

_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_EMPTY_LINE = re.compile(r"\s*(?:#.*|%.*|(?:---|\.\.\.)\s*(?:#.*)?)?")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[([^\]]*)\]")
_JSON_START = re.compile(r"\s*[{\[]")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with the text itself."""

    path: str
    reason: str
    message: str
    line: int


class Positions:
    """Which line a field was written on. The node tree is only made when somebody asks."""

    __slots__ = ("_make", "_offset", "_root")

    def __init__(self, make: Callable[[], Node | None], offset: int) -> None:
        self._make: Callable[[], Node | None] | None = make
        self._offset = offset
        self._root: Node | None = None

    def line(self, path: str) -> int:
        """The line, counted from 1, of the deepest part of the path (`spec.ports[0].name`) that was written."""
        return self._find(path)[0].start_mark.line + 1 + self._offset if self._tree() else 1 + self._offset

    def text(self, path: str) -> str | None:
        """A scalar as it was written, unquoted; None if there is none at this path."""
        if self._tree() is None:
            return None
        _, value, complete = self._find(path)
        return value.value if complete and isinstance(value, ScalarNode) else None

    def _tree(self) -> Node | None:
        if self._make is not None:
            self._root, self._make = self._make(), None
        return self._root

    def _find(self, path: str) -> tuple[Node, Node, bool]:
        mark = node = cast(Node, self._root)
        for name, key in _STEP.findall(path):
            found = _child(node, name or key)
            if found is None:
                return mark, node, False
            mark, node = found
        return mark, node, True


def _child(node: Node, step: str) -> tuple[Node, Node] | None:
    if isinstance(node, SequenceNode):
        index = int(step) if step.isdecimal() else -1
        return (node.value[index],) * 2 if 0 <= index < len(node.value) else None
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key, value
    return None


@dataclass(frozen=True, slots=True)
class Document:
    value: object
    """Of dict, list, str, int, float, bool and None; keys are strings. None where the text could not be read."""
    line: int
    positions: Positions
    faults: tuple[Fault, ...] = ()
    unread: str = ""
    """The text, where it could not be read."""


def read(text: str, file: str) -> Iterator[Document]:
    """All documents of a text that are not empty. `file` only tells JSON from YAML by its name."""
    if file.endswith(".json") or _JSON_START.match(text):
        document = _read_json(text)
        if document is not None:
            yield document
            return
    for offset, chunk in _chunks(text.removeprefix("\ufeff")):
        yield from _read_yaml(chunk, offset)


def _read_json(text: str) -> Document | None:
    """None where the YAML reader would say better what is wrong."""
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    return Document(value, 1, Positions(lambda: _compose_one(text), 0))


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("duplicate key")
    return mapping


def _compose_one(text: str) -> Node | None:
    try:
        return next(_compose(text), None)
    except (yaml.YAMLError, _TooDeepError, UnicodeError):
        return None


def _chunks(text: str) -> Iterator[tuple[int, str]]:
    """The text cut before each `---`, and the number of lines before each part."""
    starts = [0, *(match.start() for match in _SEPARATOR.finditer(text)), len(text)]
    line = 0
    for start, end in pairwise(starts):
        chunk = text[start:end]
        if not all(map(_EMPTY_LINE.fullmatch, chunk.splitlines())):
            yield line, chunk
        line += chunk.count("\n")


def _read_yaml(chunk: str, offset: int) -> Iterator[Document]:
    try:
        for node in _compose(chunk):
            document = _build(node, offset)
            if document.value is not None or document.faults:
                yield document
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = (mark.line if mark else 0) + 1 + offset
        yield _unreadable(chunk, offset, line, _words(error))
    except (yaml.YAMLError, UnicodeError) as error:
        yield _unreadable(chunk, offset, 1 + offset, str(error).partition("\n")[0])
    except _TooDeepError as error:
        yield _unreadable(chunk, offset, error.line + 1 + offset, str(error))


def _words(error: yaml.MarkedYAMLError) -> str:
    return " ".join(part for part in (error.context, error.problem) if part)


def _unreadable(chunk: str, offset: int, line: int, why: str) -> Document:
    message = f"the document is not YAML, so nothing of it is used: {why}"
    last = offset + chunk.rstrip().count("\n") + 1
    fault = Fault("", "SyntaxError", message, min(line, last))
    return Document(None, 1 + offset, Positions(lambda: None, offset), (fault,), unread=chunk)


class _TooDeepError(Exception):
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
            raise _TooDeepError(f"it is nested more than {DEEPEST} levels deep", line)

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


def _compose(text: str) -> Iterator[Node]:
    loader = _composer()(text)
    while loader.check_node():
        yield loader.get_node()


class _Builder:
    """A node tree → a plain value. An alias gives the same object again, and counts as often as it is used."""

    def __init__(self, offset: int) -> None:
        self.faults: list[Fault] = []
        self._offset = offset
        self._done: dict[int, tuple[object, int]] = {}
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: Node, path: str) -> object:
        if node.__class__ is ScalarNode:
            return node.value if node.tag == STRING else self._scalar(node, path)
        key = id(node)
        known = self._done.get(key)
        if known is not None:
            self._count += known[1]
            self._check_size(node)
            return known[0]
        if key in self._open:
            raise _TooDeepError("an alias stands inside of what it names", node.start_mark.line)
        self._open.add(key)
        before = self._count
        self._count += len(node.value) + 1
        made = self._sequence(node, path) if node.__class__ is SequenceNode else self._mapping(node, path)
        self._open.discard(key)
        self._done[key] = made, self._count - before
        self._check_size(node)
        return made

    def fault(self, node: Node, path: str, reason: str, message: str) -> None:
        self.faults.append(Fault(path, reason, message, node.start_mark.line + 1 + self._offset))

    def _check_size(self, node: Node) -> None:
        if self._count > LARGEST:
            raise _TooDeepError(f"its aliases expand to more than {LARGEST} values", node.start_mark.line)

    def _scalar(self, node: Node, path: str) -> object:
        try:
            return parse_scalar(node.tag, node.value)
        except ValueError as error:
            self.fault(node, path, "InvalidValue", f"{error}, so the object is not used; write a plain value")
            return None

    def _sequence(self, node: Node, path: str) -> list[object]:
        return [self.value(item, f"{path}[{index}]") for index, item in enumerate(node.value)]

    def _mapping(self, node: Node, path: str) -> dict[str, object]:
        made: dict[str, object] = {}
        merged: list[Node] = []
        for key_node, value_node in node.value:
            key = key_node.value
            if key_node.__class__ is not ScalarNode:
                self.fault(key_node, path, "WrongType", "a key must be text, so the object is not used")
                continue
            if key_node.tag == MERGE:
                merged.append(value_node)
                continue
            inner = f"{path}.{key}" if path else key
            if key in made:
                message = "the key stands here a second time, so the object is not used; keep one of the two"
                self.fault(key_node, inner, "DuplicateKey", message)
                continue
            made[key] = self.value(value_node, inner)
        for node_ in merged:
            self._merge(made, node_, path)
        return made

    def _merge(self, into: dict[str, object], node: Node, path: str) -> None:
        """`<<: *anchor`: what the mapping itself lacks. Source: https://yaml.org/type/merge.html"""
        value = self.value(node, path)
        for source in value if isinstance(value, list) else [value]:
            if isinstance(source, dict):
                for key, item in source.items():
                    into.setdefault(key, item)
            else:
                self.fault(node, path, "WrongType", "`<<` merges a mapping, and this is none; the object is not used")


def _build(node: Node, offset: int) -> Document:
    builder = _Builder(offset)
    value = builder.value(node, "")
    positions = Positions(lambda: node, offset)
    return Document(value, node.start_mark.line + 1 + offset, positions, tuple(builder.faults))
