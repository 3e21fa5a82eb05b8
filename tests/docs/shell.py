"""The `pilotfish` command lines that stand in a document."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^[ ]*```(?P<word>\w*)[^\n]*\n(?P<body>.*?)^[ ]*```[ ]*$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(pilotfish [^`\n]+)`")
_NOTATION = re.compile(r"[\[\]|…]|\.\.\.")
"""What stands in a synopsis and in no command."""
_OPERATORS = frozenset("();<>|&")


@dataclass(frozen=True, slots=True)
class Block:
    word: str
    """The first of the fence's words: sh, console, yaml ..."""
    info: str
    """All of them."""
    body: str


def blocks(text: str) -> Iterator[Block]:
    for found in _FENCE.finditer(text):
        info = found[0].partition("\n")[0].strip().lstrip("`").strip()
        yield Block(found["word"], info, found["body"])


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of each call of `pilotfish` in shell blocks and behind a console's prompt."""
    for block in blocks(text):
        yield from (call for line in _lines(block) for call in _calls(line))


def mentions(text: str) -> Iterator[list[str]]:
    """Those in the prose, which may leave arguments out."""
    for found in _INLINE.finditer(_FENCE.sub("", text)):
        if not _NOTATION.search(found[1]):
            yield from _calls(found[1])


def _lines(block: Block) -> list[str]:
    lines = block.body.replace("\\\n", " ").splitlines()
    if block.word == "console":
        return [line.strip().removeprefix("$ ") for line in lines if line.strip().startswith("$ ")]
    return lines if block.word in ("sh", "bash") else []


def _calls(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    for start, word in enumerate(words):
        # Not where it is an argument, as in `git clone pilotfish`: only first, behind an operator, or behind a runner.
        if word.rpartition("/")[2] == "pilotfish" and _is_command(words[:start]):
            rest = words[start + 1 :]
            end = next((i for i, each in enumerate(rest) if _is_operator(each)), len(rest))
            redirected = 0 < end < len(rest) and rest[end][0] in "<>" and rest[end - 1].isdecimal()  # 2>FILE
            yield rest[: end - redirected]


def _is_command(before: list[str]) -> bool:
    return not before or _is_operator(before[-1]) or before[-1] == "sudo" or "=" in before[-1] or "exec" in before


def _is_operator(word: str) -> bool:
    return _OPERATORS.issuperset(word) and bool(word)
