"""A tree of YAML nodes → a plain value, with what is wrong in it."""

from __future__ import annotations

from dataclasses import dataclass

from yaml.nodes import Node, ScalarNode, SequenceNode

from pilotfish.config.composing import BoundError
from pilotfish.config.scalars import MERGE, STRING, parse_scalar

LARGEST = 2_000_000
"""Values in one document, aliases counted as often as they are used."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with the text itself."""

    path: str
    reason: str
    message: str
    line: int


def build(root: Node, offset: int) -> tuple[object, tuple[Fault, ...]]:
    """Of dict, list, str, int, float, bool and None; keys are strings. `offset`: lines before the tree's text.

    Raises BoundError where aliases expand to too much.
    """
    builder = _Builder(offset)
    return builder.value(root, ""), tuple(builder.faults)


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
            raise BoundError("an alias stands inside of what it names", node.start_mark.line)
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
            raise BoundError(f"its aliases expand to more than {LARGEST} values", node.start_mark.line)

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
