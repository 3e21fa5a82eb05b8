"""A document that shows what comes of commands, held against what does.

In what is expected `...` stands for any part of a line, and alone on a line for any number of lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.docs.shell import Block, blocks


@dataclass(frozen=True, slots=True)
class Call:
    """One prompt of a console, or all of a shell block, of which nothing is expected but that it works."""

    command: str
    expected: str | None = None


def calls(text: str) -> Iterator[Call]:
    for block in blocks(text):
        yield from _calls(block)


def _calls(block: Block) -> Iterator[Call]:
    if block.word == "sh":
        yield Call(block.body)
    elif block.word == "console":
        for call in re.split(r"^\$ ", block.body, flags=re.MULTILINE)[1:]:
            command, _, expected = call.partition("\n")
            yield Call(command, expected)


def fits(answer: str, expected: str) -> bool:
    return re.fullmatch("".join(map(_pattern, expected.splitlines(keepends=True))), answer) is not None


def _pattern(line: str) -> str:
    if line == "...\n":
        return r"(?:.*\n)*?"
    return r"[^\n]*?".join(map(re.escape, line.split("...")))
