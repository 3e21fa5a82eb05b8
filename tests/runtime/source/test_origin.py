"""When a file that is missing, empty or unreadable is meant so."""

from __future__ import annotations

import pytest

from pilotfish.runtime.source.origin import GONE, Origin
from pilotfish.runtime.source.reading import DANGLING, Content, Text, Unreadable

A, B, EMPTY = Text.of(b"a"), Text.of(b"b"), Text.of(b"")
PIPE, LINK = Unreadable("NotAFile", "a pipe"), Unreadable(DANGLING, "leads nowhere")
Seen = tuple[float, Content, bool]

CASES: dict[str, list[Seen]] = {
    "a text is told once": [(0, A, True), (1, A, False), (2, B, True)],
    "nothing that was never told is no news": [(0, None, False), (1, A, True)],
    "an empty file at first": [(0, EMPTY, True), (1, EMPTY, False)],
    "an editor removes and writes": [(0, A, True), (5, None, False), (5.5, B, True)],
    "an editor empties and writes the same": [(0, A, True), (5, EMPTY, False), (5.5, A, False)],
    "it is gone": [(0, A, True), (5, None, False), (5.9, None, False), (6, None, True), (7, None, False)],
    "it is emptied": [(0, A, True), (5, EMPTY, False), (6, EMPTY, True)],
    "emptied, and gone after that": [(0, A, True), (5, EMPTY, False), (5.9, None, False), (6, None, True)],
    "the second time counts anew": [
        (0, A, True),
        (5, None, False),
        (5.5, B, True),
        (5.9, None, False),
        (6.5, B, False),
    ],
    "what a link leads to is moved away": [(0, A, True), (5, LINK, False), (5.5, B, True)],
    "a link that stays dangling": [(0, A, True), (5, LINK, False), (6, LINK, True)],
    "a pipe is said at once": [(0, A, True), (5, PIPE, True), (6, PIPE, False), (7, A, True)],
    "a pipe that is gone": [(0, PIPE, True), (1, None, True)],
}


@pytest.mark.parametrize("steps", CASES.values(), ids=CASES)
def test_what_is_told(steps: list[Seen]) -> None:
    origin = Origin()
    assert [origin.see(content, at) for at, content, _ in steps] == [expected for *_, expected in steps]


def test_when_to_look_again() -> None:
    origin = Origin()
    origin.see(A, 0)
    assert origin.look_at is None
    origin.see(None, 5)
    assert origin.look_at == 5 + GONE
    origin.see(None, 5.5)
    assert origin.look_at == 5 + GONE
    assert not origin.is_gone
    origin.see(None, 5 + GONE)
    assert origin.look_at is None
    assert origin.is_gone
    origin.see(PIPE, 10)
    assert origin.look_at is not None, "nothing tells that permissions were mended"
