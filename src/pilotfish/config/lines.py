"""Which line each field of an object stands on, small enough to be kept with every object.

A number for each value of the document, in order: the lines from the object's first one on. The document itself says
which number is whose.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from pilotfish.config.paths import steps

if TYPE_CHECKING:
    from pilotfish.config.building import Lines

_MOST: Final = 2**16 - 1
_NESTED: Final = frozenset({dict, list})


def record_lines(document: Mapping[str, object], original: Mapping[str, object], lines: Lines, first: int) -> bytes:
    """`original` is what was read, of which `lines` speak; the document may have its metadata in another order, and
    more of it. `first` is the object's own line."""
    found: list[int] = []
    _record_changed(document, original, lines.of, first, found)
    try:
        return array("H", [line - first for line in found]).tobytes()
    except OverflowError:  # a very long object, or an alias of what stands before it
        return array("H", [max(0, min(_MOST, line - first)) for line in found]).tobytes()


def _record_changed(value: Any, original: Any, of: Mapping[int, list[int]], line: int, found: list[int]) -> None:
    """Of a mapping or list that is another than was read, though parts of it may be the same."""
    own = dict(zip(_steps(original), of.get(id(original), ()), strict=False))
    for step, child in _items(value):
        at = own.get(step, line)
        found.append(at)
        before = _at(original, step)
        if child.__class__ in _NESTED and child is not before and child.__class__ is before.__class__:
            _record_changed(child, before, of, at, found)
        elif child.__class__ in _NESTED:
            _record(child, of, at, found)


def _items(value: Any) -> Iterable[tuple[Any, object]]:
    return value.items() if isinstance(value, Mapping) else enumerate(value)


def _steps(value: Any) -> Iterable[object]:
    return value if isinstance(value, Mapping) else range(len(value))


def _at(value: Any, step: Any) -> object:
    if isinstance(value, Mapping):
        return value.get(step)
    return value[step] if step < len(value) else None


def _record(value: Any, of: Mapping[int, list[int]], line: int, found: list[int]) -> None:
    """Done for every value of all objects that are read, so it does no more than it must."""
    written = of.get(id(value), ())
    known = len(written)
    for index, child in enumerate(value.values() if value.__class__ is dict else value):
        at = written[index] if index < known else line
        found.append(at)
        if child.__class__ in _NESTED:
            _record(child, of, at, found)


def line_of(document: Mapping[str, object], numbers: bytes, path: str) -> int:
    """How many lines after the first the deepest part of the path stands that was written."""
    deltas, at, found = memoryview(numbers).cast("H"), -1, 0
    here: object = document
    for step in steps(path):
        for child_step, child in _children(here):
            at += 1
            if child_step == step:
                here = child
                break
            at += _size(child)
        else:
            return found
        if at >= len(deltas):
            return found
        found = deltas[at]
    return found


def _children(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list):
        yield from ((str(index), item) for index, item in enumerate(value))


def _size(value: object) -> int:
    """Of everything inside of it."""
    return sum(1 + _size(child) for _, child in _children(value))
