"""Text → ParsedDocuments: plain values, and where each field was written.

YAML (several documents, each read for itself, so that a slip in one leaves the others alone) or JSON. Everything is
bounded: the text, its documents, nesting, what is written and what aliases expand to. The work is linear in the text
and done in pieces, between which a caller may do something else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import yaml

from pilotfish.config.building import BoundError, Built, Fault, Lines, build
from pilotfish.config.lines import record_lines
from pilotfish.config.paths import steps
from pilotfish.config.scalars import whole_number

LARGEST_TEXT = 64 * 2**20
"""Characters. 100,000 Services in YAML are a third of it."""
LARGEST_DOCUMENT = 8 * 2**20
MOST_LINES = 250_000
LONGEST_LINE = 2**20
"""Of one document. libyaml reads a scalar in one go, and takes its time for each line and character of it."""
MOST_DOCUMENTS = 50_000
_LARGEST_JSON = 2**18
"""Characters that are read in one go; what is larger is read as YAML, which JSON is, in pieces."""
_CHUNKS_A_PAUSE = 1_000
_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_EMPTY_LINE = re.compile(r"\s*(?:#.*|%.*|(?:---|\.\.\.)\s*(?:#.*)?)?")
_JSON_START = re.compile(r"\s*[{\[]")


class Positions:
    """Which line a field was written on. Where it is given a function, the lines are found when somebody asks."""

    __slots__ = ("_is_one_line", "_lines", "_make", "_offset", "_value")

    def __init__(self, value: object, lines: Lines | Callable[[], Built | None] | None, offset: int) -> None:
        self._value = value
        self._lines = lines if isinstance(lines, Lines) else None
        self._make = None if isinstance(lines, Lines) else lines
        self._offset = offset
        self._is_one_line = False

    @classmethod
    def of_json(cls, text: str, offset: int) -> Positions:
        """Of a text that begins with its value and has `offset` lines before it."""
        found = cls(None, lambda: _build_one(text), offset)
        found._is_one_line = "\n" not in text
        return found

    def line(self, path: str) -> int:
        """The line, counted from 1, of the deepest part of the path (`spec.ports[0].name`) that was written."""
        if self._make is not None and not path:
            return 1 + self._offset
        lines = self._found()
        return 1 + self._offset + (self._walk(lines, path)[0] if lines is not None else 0)

    def text(self, path: str) -> str | None:
        """A scalar as it was written, unquoted; None if there is none at this path."""
        lines = self._found()
        return self._walk(lines, path)[1] if lines is not None else None

    def record(self, document: Mapping[str, object], path: str) -> bytes:
        """Those of an object that was read at this path, to be kept; none where all of them are the first one."""
        lines = None if self._is_one_line else self._found()
        if lines is None:
            return b""
        original = self._value
        for step in steps(path):
            at = _index(original, step)
            original = at[2] if at is not None else None
        first = self._walk(lines, path)[0] if path else lines.start
        return record_lines(document, original if isinstance(original, Mapping) else {}, lines, first)

    def _found(self) -> Lines | None:
        if self._make is not None:
            built, self._make = self._make(), None
            if built is not None:
                self._value, self._lines = built.value, built.lines
        return self._lines

    def _walk(self, lines: Lines, path: str) -> tuple[int, str | None]:
        line, value, text = lines.start, self._value, None
        for part in steps(path):
            at = _index(value, part)
            here = lines.of.get(id(value), [])
            if at is None:
                return line, None
            index, step, child = at
            if index < len(here):
                line = here[index]
            written = lines.texts.get((id(value), step))
            text = child if isinstance(child, str) else written
            value = child
        return line, text


def _index(value: object, step: str) -> tuple[int, object, object] | None:
    """Which one it is, its key, what stands there."""
    if isinstance(value, list):
        index = int(step) if step.isdecimal() and len(step) < 10 else len(value)
        return (index, index, value[index]) if index < len(value) else None
    if isinstance(value, dict) and step in value:
        return list(value).index(step), step, value[step]
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
    return (document for document in read_in_pieces(text, file) if document is not None)


def read_in_pieces(text: str, file: str) -> Iterator[ParsedDocument | None]:
    """As `read`; None for a pause."""
    if len(text) > LARGEST_TEXT:
        what = f"the text has {len(text)} characters, and {LARGEST_TEXT} are the most"
        yield _too_much(what, "divide it into several files")
        return
    if len(text) <= _LARGEST_JSON and (file.endswith(".json") or _JSON_START.match(text)):
        documents = _read_json(text)
        if documents is not None:
            yield from documents
            return
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if text.count("\n---") > MOST_DOCUMENTS:
        what = f"the text has more than {MOST_DOCUMENTS} documents"
        yield _too_much(what, "divide it into several files")
        return
    yield None
    starts = [0, *(match.start() for match in _SEPARATOR.finditer(text)), len(text)]
    yield from _read_chunks(text, starts)


def _read_chunks(text: str, starts: list[int]) -> Iterator[ParsedDocument | None]:
    """The text cut before each `---`."""
    before = 0
    for number, (start, end) in enumerate(pairwise(starts)):
        chunk = text[start:end]
        lines = chunk.count("\n")
        excess = _excess(chunk, lines)
        if excess:
            yield _too_much(f"the document has {excess}", "divide it into several documents", chunk, before)
        elif not all(map(_EMPTY_LINE.fullmatch, chunk.splitlines())):
            yield from _read_yaml(chunk, before)
        before += lines
        if number % _CHUNKS_A_PAUSE == 0:
            yield None


def _excess(chunk: str, lines: int) -> str:
    """What there is too much of."""
    if len(chunk) <= LONGEST_LINE and lines <= MOST_LINES:
        return ""
    if len(chunk) > LARGEST_DOCUMENT:
        return f"more than {LARGEST_DOCUMENT} characters"
    if lines > MOST_LINES:
        return f"more than {MOST_LINES} lines"
    longest = max(map(len, chunk.split("\n")))
    return f"a line of {longest} characters, and {LONGEST_LINE} are the most" if longest > LONGEST_LINE else ""


def _read_json(text: str) -> list[ParsedDocument] | None:
    """One value or several, as `jq` writes them and kubectl reads them. None where the YAML reader would say better
    what is wrong."""
    found: list[ParsedDocument] = []
    at, lines = 0, 0
    try:
        while body := _VALUE.search(text, at):
            lines += text.count("\n", at, body.start())
            value, end = _JSON.raw_decode(text, body.start())
            if found and not isinstance(value, dict | list):
                return None
            found.append(_parsed(value, text[body.start() : end], lines))
            lines += text.count("\n", body.start(), end)
            at = end
    except (ValueError, RecursionError):
        return None
    return found or None


def _parsed(value: object, text: str, lines: int) -> ParsedDocument:
    """Raises ValueError."""
    if "\\ud" in text or "\\uD" in text:
        # Half of a surrogate pair is no character: whoever writes the object out again would fail.
        json.dumps(value, ensure_ascii=False).encode()
    return ParsedDocument(value, 1 + lines, Positions.of_json(text, lines))


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no number in JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("duplicate key")
    return mapping


_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_int=whole_number, parse_constant=_refuse)
_VALUE = re.compile(r"\S")


def _build_one(text: str) -> Built | None:
    try:
        return next((built for built in build(text) if built is not None), None)
    except (yaml.YAMLError, BoundError, UnicodeError):
        return None


def _read_yaml(chunk: str, offset: int) -> Iterator[ParsedDocument | None]:
    try:
        for built in build(chunk):
            if built is None:
                yield None
            elif built.value is not None or built.faults:
                positions = Positions(built.value, built.lines, offset)
                faults = tuple(Fault(f.path, f.reason, f.message, f.line + 1 + offset) for f in built.faults)
                yield ParsedDocument(built.value, built.lines.start + 1 + offset, positions, faults)
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
    return ParsedDocument(None, 1 + offset, Positions(None, None, offset), (fault,), unread=chunk)


def _too_much(what: str, remedy: str, chunk: str = "", offset: int = 0) -> ParsedDocument:
    fault = Fault("", "TooLarge", f"{what}, so nothing of it is used; {remedy}", 1 + offset)
    return ParsedDocument(None, 1 + offset, Positions(None, None, offset), (fault,), unread=chunk or what)
