"""Text → ParsedDocuments: plain values, and where each field was written.

YAML (several documents, each read for itself, so that a slip in one leaves the others alone) or JSON. Bounds: nesting
and what aliases expand to, so that a small text can't grow into a large value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pilotfish.config.building import Fault, build
from pilotfish.config.composing import BoundError, compose

_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_EMPTY_LINE = re.compile(r"\s*(?:#.*|%.*|(?:---|\.\.\.)\s*(?:#.*)?)?")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[([^\]]*)\]")
_JSON_START = re.compile(r"\s*[{\[]")


class Positions:
    """Which line a field was written on. Where `root` is a function, the node tree is made when somebody asks."""

    __slots__ = ("_make", "_offset", "_root")

    def __init__(self, root: Node | Callable[[], Node | None] | None, offset: int) -> None:
        self._root = root if isinstance(root, Node) else None
        self._make = None if isinstance(root, Node) else root
        self._offset = offset

    @classmethod
    def of_json(cls, text: str, offset: int) -> Positions:
        """Of a text that begins with its value and has `offset` lines before it."""
        return cls(lambda: _compose_one(text), offset)

    def line(self, path: str) -> int:
        """The line, counted from 1, of the deepest part of the path (`spec.ports[0].name`) that was written."""
        if self._make is not None and not path:
            return 1 + self._offset
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
class ParsedDocument:
    value: object
    """Of dict, list, str, int, float, bool and None; keys are strings. None where the text could not be read."""
    line: int
    positions: Positions
    faults: tuple[Fault, ...] = ()
    unread: str = ""
    """The text, where it could not be read."""


def read(text: str, file: str) -> Iterator[ParsedDocument]:
    """All documents of a text that are not empty. `file` only tells JSON from YAML by its name."""
    if file.endswith(".json") or _JSON_START.match(text):
        document = _read_json(text)
        if document is not None:
            yield document
            return
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for offset, chunk in _chunks(text):
        yield from _read_yaml(chunk, offset)


def _read_json(text: str) -> ParsedDocument | None:
    """None where the YAML reader would say better what is wrong."""
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    body = text.lstrip()
    before = text[: len(text) - len(body)].count("\n")
    return ParsedDocument(value, 1 + before, Positions.of_json(body, before))


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("duplicate key")
    return mapping


def _compose_one(text: str) -> Node | None:
    try:
        return next(compose(text), None)
    except (yaml.YAMLError, BoundError, UnicodeError):
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


def _read_yaml(chunk: str, offset: int) -> Iterator[ParsedDocument]:
    try:
        for node in compose(chunk):
            value, faults = build(node, offset)
            if value is not None or faults:
                line = node.start_mark.line + 1 + offset
                yield ParsedDocument(value, line, Positions(node, offset), faults)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = (mark.line if mark else 0) + 1 + offset
        yield _unreadable(chunk, offset, line, _words(error))
    except (yaml.YAMLError, UnicodeError) as error:
        yield _unreadable(chunk, offset, 1 + offset, str(error).partition("\n")[0])
    except BoundError as error:
        yield _unreadable(chunk, offset, error.line + 1 + offset, str(error))


def _words(error: yaml.MarkedYAMLError) -> str:
    return " ".join(part for part in (error.context, error.problem) if part)


def _unreadable(chunk: str, offset: int, line: int, why: str) -> ParsedDocument:
    message = f"the document is not YAML, so nothing of it is used: {why}"
    last = offset + chunk.rstrip().count("\n") + 1
    fault = Fault("", "SyntaxError", message, min(line, last))
    return ParsedDocument(None, 1 + offset, Positions(None, offset), (fault,), unread=chunk)
