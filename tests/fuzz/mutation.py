"""What users write by mistake, and what nobody would write: anything in the place of anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from hypothesis import strategies as st

from tests.fuzz.objects import Document, drawn_objects
from tests.fuzz.words import STRANGE_NUMBERS, STRANGE_TEXTS

_TEXT = st.text(max_size=12)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), _TEXT,
    st.sampled_from(STRANGE_TEXTS), st.sampled_from(STRANGE_NUMBERS),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3), max_leaves=8
)
_PIECES = (
    "\t", "&a ", "*a ", "<<: *a\n", "!!python/object:x ", "!!binary ", "\n---\n", "\0", "{{", "%", ": ", "- ", "'", '"',
    "#", "|", ">", "\u2028", "\x85", "\ufeff", "\ud800", "?", "[", "}", "\n", "😀", "~", "!", "@", "0", "  ",
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, documents: st.SearchStrategy[Document]) -> Any:
    """A document with anything in the place of some of its fields."""
    document: Any = draw(documents)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(_paths(document))))
        document = _with(document, path, draw(VALUES | st.builds(_nested, st.integers(2, 400), SCALARS)))
    return document


@st.composite
def broken_texts(draw: st.DrawFn) -> str:
    """YAML, with pieces of it in places where they mean something else, or nothing."""
    text: str = yaml.safe_dump_all(draw(st.lists(drawn_objects(), min_size=1, max_size=2)), allow_unicode=True)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 8)))
        text = text[:start] + draw(st.sampled_from(_PIECES)) + text[end:]
    return text


def _nested(depth: int, value: object) -> object:
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def _paths(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _paths(item, (*path, key))


def _with(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    if not path:
        return new
    first, *rest = path
    changed = _with(value[first], tuple(rest), new)
    if isinstance(value, list):
        return [changed if index == first else item for index, item in enumerate(value)]
    return {key: changed if key == first else item for key, item in value.items()}
