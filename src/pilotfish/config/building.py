"""YAML events → plain values, with what is wrong in them and the line that each part was written on.

The events come from libyaml where PyYAML has it. No tree of nodes is made of them: it costs ten times as much, and all
that is wanted beside the value is a line for each key and each item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml
from yaml import events
from yaml.composer import ComposerError

from pilotfish.config.scalars import MERGE, NULL, STRING, parse_scalar, tag_of

DEEPEST = 100
"""Levels of nesting."""
MOST_NODES = 1_000_000
"""Written in one document."""
LARGEST = 2_000_000
"""Values in one document, aliases counted as often as they are used."""
MOST_FAULTS = 100
"""Of one document."""
SLICE = 1_000
"""Events between two pauses."""


class BoundError(Exception):
    """The text is YAML, and too much of it. `line` counts from 0."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with the text itself."""

    path: str
    reason: str
    message: str
    line: int


@dataclass(slots=True)
class Lines:
    """Where the parts of one value were written. By identity of the mapping or list, which lives as long as this."""

    start: int
    """Line of the value itself, from 0, as all here."""
    of: dict[int, list[int]] = field(default_factory=dict)
    """Of each key of a mapping, in its order (none for keys that `<<` brings), and of each item of a list."""
    texts: dict[tuple[int, object], str] = field(default_factory=dict)
    """(mapping or list, key or index) → a scalar that is no text, as it was written."""


@dataclass(frozen=True, slots=True)
class Built:
    value: object
    """Of dict, list, str, int, float, bool and None; keys are strings."""
    lines: Lines
    faults: tuple[Fault, ...]
    size: int
    """How many values it has, aliases counted as often as they are used."""


@cache
def _parser() -> Callable[[str], Any]:
    """PyYAML's parser: libyaml's where it is built in, else the one in Python."""
    if yaml.__with_libyaml__:
        from yaml._yaml import CParser

        return CParser
    from yaml import parser, reader, scanner

    class _PurePython(reader.Reader, scanner.Scanner, parser.Parser):
        def __init__(self, text: str) -> None:
            reader.Reader.__init__(self, text)
            scanner.Scanner.__init__(self)
            parser.Parser.__init__(self)

    return _PurePython


def build(text: str) -> Iterator[Built | None]:
    """Each document of the text; None for a pause, at which a caller may do something else.

    Raises yaml.YAMLError, BoundError, or UnicodeError for what can't be encoded.
    """
    parser = _parser()(text)
    following = parser.get_event
    builder = _Builder()
    count = 0
    while (event := following()) is not None:
        kind = event.__class__
        if kind is events.ScalarEvent:
            builder.scalar(event)
        elif kind is events.MappingEndEvent or kind is events.SequenceEndEvent:
            builder.end()
        elif kind is events.MappingStartEvent or kind is events.SequenceStartEvent:
            builder.start({} if kind is events.MappingStartEvent else [], event)
        elif kind is events.AliasEvent:
            builder.alias(event)
        elif kind is events.DocumentStartEvent:
            builder = _Builder()
        elif kind is events.DocumentEndEvent:
            yield builder.built()
        elif kind is events.StreamEndEvent:
            return
        count += 1
        if count % SLICE == 0:
            yield None


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end is not read yet."""

    value: dict[str, Any] | list[Any]
    lines: list[int]
    anchor: str | None
    line: int
    before: int
    """Of the builder's count."""
    is_key: bool
    key: str | None = None
    """What the next value belongs to."""
    unused: bool = False
    """The next value is read and belongs to nothing."""
    merged: list[tuple[object, int]] = field(default_factory=list)


class _Builder:
    """An alias gives the same object again, and counts as often as it is used."""

    def __init__(self) -> None:
        self._lines = Lines(0)
        self._root: object = None
        self._faults: list[Fault] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[object, int]] = {}
        self._nodes = 0
        self._count = 0

    def built(self) -> Built:
        return Built(self._root, self._lines, tuple(self._faults), self._count)

    def scalar(self, event: Any) -> None:
        self._add(1, event)
        text = event.value
        is_plain = event.implicit[0]
        tag = tag_of(text) if is_plain else STRING if event.tag is None or event.implicit[1] else event.tag
        at = self._stack[-1] if self._stack else None
        if at is not None and at.key is None and at.value.__class__ is dict:
            self._key(at, text, tag, event.start_mark.line)
            return
        if tag == STRING:
            value: object = text
        else:
            value = self._parse(tag, text, event.start_mark.line)
            if at is not None:
                self._lines.texts[id(at.value), at.key if at.key is not None else len(at.value)] = text
        if event.anchor is not None:
            self._anchors[event.anchor] = value, 1
        self._put(value, event.start_mark.line)

    def start(self, value: dict[str, Any] | list[Any], event: Any) -> None:
        line = event.start_mark.line
        if len(self._stack) >= DEEPEST:
            raise BoundError(f"it is nested more than {DEEPEST} levels deep", line)
        at = self._stack[-1] if self._stack else None
        is_key = at is not None and at.key is None and isinstance(at.value, dict)
        opened = _Open(value, [], event.anchor, line, self._count, is_key)
        self._lines.of[id(value)] = opened.lines
        self._stack.append(opened)
        self._add(1, event)

    def end(self) -> None:
        done = self._stack.pop()
        for value, line in done.merged:
            self._merge(done, value, line)
        if done.anchor is not None:
            self._anchors[done.anchor] = done.value, self._count - done.before
        if done.is_key:
            self._refuse_key(self._stack[-1], done.line)
        else:
            self._put(done.value, done.line)

    def alias(self, event: Any) -> None:
        line = event.start_mark.line
        if any(opened.anchor == event.anchor for opened in self._stack):
            raise BoundError("an alias stands inside of what it names", line)
        if event.anchor not in self._anchors:
            raise ComposerError(None, None, f"found undefined alias {event.anchor!r}", event.start_mark)
        value, size = self._anchors[event.anchor]
        self._add(size, event)
        at = self._stack[-1] if self._stack else None
        if at is None or at.key is not None or isinstance(at.value, list):
            self._put(value, line)
        elif isinstance(value, str):
            self._key(at, value, STRING, line)
        else:
            self._refuse_key(at, line)

    def _add(self, size: int, event: Any) -> None:
        self._nodes += 1
        self._count += size
        if self._count > LARGEST:
            raise BoundError(f"its aliases expand to more than {LARGEST} values", event.start_mark.line)
        if self._nodes > MOST_NODES:
            remedy = "divide it into several documents"
            raise BoundError(f"it has more than {MOST_NODES} values; {remedy}", event.start_mark.line)

    def _put(self, value: object, line: int) -> None:
        if not self._stack:
            self._root, self._lines.start = value, line
            return
        at = self._stack[-1]
        if isinstance(at.value, list):
            at.value.append(value)
            at.lines.append(line)
            return
        if at.key == MERGE:
            at.merged.append((value, line))
        elif not at.unused and at.key is not None:
            at.value[at.key] = value
        at.key, at.unused = None, False

    def _key(self, at: _Open, text: str, tag: str, line: int) -> None:
        if tag == MERGE:
            at.key = MERGE
        elif text in at.value:
            message = "the key stands here a second time, so the object is not used; keep one of the two"
            at.key, at.unused = text, True
            self._fault("DuplicateKey", message, line)
        else:
            at.key = text
            at.lines.append(line)

    def _refuse_key(self, at: _Open, line: int) -> None:
        self._fault("WrongType", "a key must be text, so the object is not used", line)
        at.key, at.unused = "", True

    def _parse(self, tag: str, text: str, line: int) -> object:
        if tag == NULL:
            return None
        try:
            return parse_scalar(tag, text)
        except ValueError as error:
            message = f"{error}, so the object is not used; write a plain value"
            self._fault("InvalidValue", message, line)
            return None

    def _merge(self, into: _Open, value: object, line: int) -> None:
        """`<<: *anchor`: what the mapping itself lacks. Source: https://yaml.org/type/merge.html"""
        for source in value if isinstance(value, list) else [value]:
            if isinstance(source, dict) and isinstance(into.value, dict):
                self._count += len(source)
                for key, item in source.items():
                    into.value.setdefault(key, item)
            else:
                message = "`<<` merges a mapping, and this is none; the object is not used"
                self._fault("WrongType", message, line)

    def _fault(self, reason: str, message: str, line: int) -> None:
        if len(self._faults) < MOST_FAULTS:
            self._faults.append(Fault(self._path(), reason, message, line))

    def _path(self) -> str:
        """Of what is read now."""
        path = ""
        for opened in self._stack:
            if isinstance(opened.value, list):
                path += f"[{len(opened.value)}]"
            elif opened.key is not None and opened.key != MERGE:
                path += f".{opened.key}" if path else opened.key
        return path
