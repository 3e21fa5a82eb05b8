"""kubectl's JSONPath: `{range .items[*]}{.metadata.name}{"\\n"}{end}`. Pure.

    text ─parse─▶ Template ─render(document)─▶ text        path ─parse_path─▶ Path ─find(document)─▶ values

What is not there is left out, as in `kubectl get`.
Source: https://kubernetes.io/docs/reference/kubectl/jsonpath/ and k8s.io/client-go/util/jsonpath
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

Step = Callable[[Iterable[Any]], Iterator[Any]]
"""Values → the values one step below them."""


class BadPath(ValueError):
    """The text is no JSONPath; the message says where."""


@dataclass(frozen=True, slots=True)
class Path:
    steps: tuple[Step, ...]
    is_absolute: bool = False
    """It begins with `$`: at the whole document, wherever it stands."""

    def find(self, root: Any, current: Any = None) -> list[Any]:
        """All that it leads to from `current`, or from `root` where there is none."""
        values: Iterable[Any] = [root if current is None or self.is_absolute else current]
        for step in self.steps:
            values = step(values)
        return list(values)


@dataclass(frozen=True, slots=True)
class Range:
    path: Path
    body: tuple[Node, ...]


Node = str | Path | Range


@dataclass(frozen=True, slots=True)
class Template:
    nodes: tuple[Node, ...]

    def render(self, document: Any) -> str:
        return "".join(_render(self.nodes, document, None))


def parse(text: str) -> Template:
    """Raises BadPath."""
    reader = _Reader(text)
    nodes = _nodes(reader, inside=False)
    return Template(nodes)


def parse_path(text: str) -> Path:
    """One path alone, as `--sort-by` and `custom-columns` have it: `.metadata.name`, `{.metadata.name}`,
    `metadata.name`. Raises BadPath."""
    text = text.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    reader = _Reader(text if text.startswith((".", "$", "@", "[")) else f".{text}")
    path = _path(reader)
    if not reader.at_end:
        reader.fail("is not understood")
    return path


def show(value: Any) -> str:
    """A value in the middle of text: mappings and lists as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _render(nodes: Iterable[Node], root: Any, current: Any) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, Range):
            for value in node.path.find(root, current):
                yield from _render(node.body, root, value)
        else:
            yield " ".join(map(show, node.find(root, current)))


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    @property
    def at_end(self) -> bool:
        return self.at >= len(self.text)

    def starts(self, word: str) -> bool:
        return self.text.startswith(word, self.at)

    def take(self, word: str) -> bool:
        found = self.starts(word)
        self.at += len(word) if found else 0
        return found

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def need(self, word: str) -> None:
        if not self.take(word):
            self.fail(f"where {word} is wanted")

    def spaces(self) -> None:
        self.match(_SPACES)

    def fail(self, what: str) -> NoReturn:
        rest = self.text[self.at :] or "its end"
        raise BadPath(f"{self.text!r} is no JSONPath: {rest!r} {what}")


_SPACES: Final = re.compile(r"\s*")
_PLAIN: Final = re.compile(r"[^{]+")
_QUOTED: Final = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_NAME: Final = re.compile(r"(?:[^\s.\[\]{}()'\",:;?@$*=<>!\\]|\\.)+")
_SLICE: Final = re.compile(r"(-?\d+)?:(-?\d+)?(?::(-?\d+)?)?(?=\])")
_INDEX: Final = re.compile(r"-?\d+(?=[\],])")
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")
_WORD: Final = re.compile(r"(?:true|false|null)\b")
_OPERATOR: Final = re.compile(r"==|!=|<=|>=|<|>")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}


def _nodes(reader: _Reader, inside: bool) -> tuple[Node, ...]:
    """Until the end, or the `{end}` of the range that we are inside of."""
    nodes: list[Node] = []
    while not reader.at_end:
        if plain := reader.match(_PLAIN):
            nodes.append(plain.group())
            continue
        reader.need("{")
        reader.spaces()
        if reader.take("end"):
            reader.spaces()
            reader.need("}")
            if not inside:
                reader.fail("follows an {end} without a {range}")
            return tuple(nodes)
        if reader.take("range"):
            reader.spaces()
            path = _path(reader)
            reader.spaces()
            reader.need("}")
            nodes.append(Range(path, _nodes(reader, inside=True)))
            continue
        while not reader.take("}"):
            nodes.append(_text(quoted) if (quoted := reader.match(_QUOTED)) else _path(reader))
            reader.spaces()
    if inside:
        reader.fail("comes before {end}")
    return tuple(nodes)


def _text(quoted: re.Match[str]) -> str:
    return _unescape(quoted[1] if quoted[1] is not None else quoted[2])


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text, flags=re.DOTALL)


def _path(reader: _Reader) -> Path:
    """`.a.b[0]`, `$.a`, `@.a`, `@`."""
    begun = reader.at
    is_absolute = reader.take("$")
    if not is_absolute:
        reader.take("@")
    steps: list[Step] = []
    while not reader.at_end:
        if reader.take(".."):
            steps.append(_below)
            if not reader.starts("["):
                steps.append(_member(reader))
        elif reader.take("."):
            if reader.starts("["):
                continue
            if reader.at_end or reader.starts("}") or reader.starts(" "):
                break  # `{.}` is the document itself
            steps.append(_member(reader))
        elif reader.take("["):
            steps.append(_brackets(reader))
        elif not steps and reader.at == begun:
            steps.append(_member(reader))
        else:
            break
    if reader.at == begun:
        reader.fail("is not understood")
    return Path(tuple(steps), is_absolute)


def _member(reader: _Reader) -> Step:
    if reader.take("*"):
        return _all
    found = reader.match(_NAME)
    if found is None:
        reader.fail("where a name is wanted")
    return _field(_unescape(found.group()))


def _brackets(reader: _Reader) -> Step:
    """After `[`: `*]`, `0]`, `-1]`, `0:2]`, `'a','b']`, `?(@.a == "b")]`."""
    reader.spaces()
    if reader.take("?("):
        step = _filter(reader)
        reader.spaces()
        reader.need(")")
    elif reader.take("*"):
        step = _all
    elif sliced := reader.match(_SLICE):
        step = _slice(*(int(each) if each else None for each in sliced.groups()))
    else:
        step = _union(reader)
    reader.spaces()
    reader.need("]")
    return step


def _union(reader: _Reader) -> Step:
    steps: list[Step] = []
    while True:
        reader.spaces()
        if index := reader.match(_INDEX):
            steps.append(_item(int(index.group())))
        elif quoted := reader.match(_QUOTED):
            # As there, a path of its own: 'metadata.name', and a dot of a name is written with a backslash before it.
            steps.append(_chain(_path(_Reader(f".{quoted[1] if quoted[1] is not None else quoted[2]}")).steps))
        elif name := reader.match(_NAME):
            steps.append(_field(_unescape(name.group())))
        else:
            reader.fail("where an index, a name or a filter is wanted")
        reader.spaces()
        if not reader.take(","):
            break
    if len(steps) == 1:
        return steps[0]

    def step(values: Iterable[Any]) -> Iterator[Any]:
        every = list(values)
        for each in steps:
            yield from each(every)

    return step


def _chain(steps: Iterable[Step]) -> Step:
    def step(values: Iterable[Any]) -> Iterator[Any]:
        for each in steps:
            values = each(values)
        yield from values

    return step


def _filter(reader: _Reader) -> Step:
    reader.spaces()
    left = _operand(reader)
    reader.spaces()
    compare = reader.match(_OPERATOR)
    right: Path | tuple[Any] | None = None
    if compare:
        reader.spaces()
        right = _operand(reader)

    def holds(value: Any) -> bool:
        one = _values(left, value)
        if compare is None or right is None:
            return bool(one)
        other = _values(right, value)
        return bool(one and other) and _compare(compare.group(), one[0], other[0])

    def step(values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            yield from (each for each in _items(value) if holds(each))

    return step


def _operand(reader: _Reader) -> Path | tuple[Any]:
    """A path, or one value in a tuple."""
    if quoted := reader.match(_QUOTED):
        return (_text(quoted),)
    if found := reader.match(_NUMBER) or reader.match(_WORD):
        return (json.loads(found.group()),)
    return _path(reader)


def _values(operand: Path | tuple[Any], value: Any) -> list[Any]:
    return operand.find(value) if isinstance(operand, Path) else list(operand)


_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _compare(how: str, one: Any, other: Any) -> bool:
    try:
        return _COMPARISONS[how](one, other)
    except TypeError:
        return False


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


def _all(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        yield from _items(value)


def _below(values: Iterable[Any]) -> Iterator[Any]:
    """Each value, and all that is in it at any depth."""
    for value in values:
        yield value
        yield from _below(_items(value))


def _field(name: str) -> Step:
    def step(values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            if isinstance(value, Mapping) and name in value:
                yield value[name]

    return step


def _item(index: int) -> Step:
    def step(values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            if isinstance(value, (list, tuple)) and -len(value) <= index < len(value):
                yield value[index]

    return step


def _slice(start: int | None, stop: int | None, stride: int | None) -> Step:
    def step(values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            if isinstance(value, (list, tuple)):
                yield from value[start : stop : stride or 1]

    return step
