"""How wide text will be, without the font that will show it: as in DejaVu Sans, which is wider than what people have.

So a line that fits here fits everywhere; there may be some room left.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from pilotfish.explain.picture.style import TextStyle

_WIDTHS: Final = {
    **dict.fromkeys("ijl'|", 0.29),
    **dict.fromkeys(' ,.:;!I()[]/\\`-f"tr', 0.42),
    **dict.fromkeys("mwMW%@", 1.0),
    **dict.fromkeys("ADGHKNOQRUVXYZ+<>=~#&", 0.84),
}
"""In parts of the font's size. A letter that is not listed is 0.66."""
_BOLD: Final = 1.12
_BREAKS: Final = re.compile(r"(?<=[/.:|,?&=@_-])")
"""Behind these a word may go on in the next line."""
_MORE: Final = "…"


def measure(text: str, style: TextStyle) -> float:
    """Pixels."""
    return sum(map(_width, text)) * style.size * (_BOLD if style.bold else 1.0)


def _width(char: str) -> float:
    if char in _WIDTHS:
        return _WIDTHS[char]
    if char.isascii():
        return 0.66
    if unicodedata.combining(char):
        return 0.0
    return 1.05 if unicodedata.east_asian_width(char) in "WF" else 0.9


def wrap(text: str, style: TextStyle, room: float, most: int = 1000) -> tuple[str, ...]:
    """Lines no wider than `room`, `most` of them; what is left out is told by `…`."""
    text = text[: int(most * room / (style.size * min(_WIDTHS.values()))) + 1]
    lines: list[str] = []
    line = ""
    for piece in _pieces(text, style, room):
        if line and measure(line + piece.rstrip(), style) > room:
            lines.append(line.rstrip())
            line = ""
        line += piece if line else piece.lstrip()
    lines.append(line.rstrip())
    if len(lines) <= most:
        return tuple(lines)
    last = lines[most - 1]
    while last and measure(last + _MORE, style) > room:
        last = last[:-1]
    return (*lines[: most - 1], f"{last.rstrip()}{_MORE}")


def _pieces(text: str, style: TextStyle, room: float) -> Iterator[str]:
    """Where a line may end: behind a word, else within a long one, none wider than `room`."""
    for word in re.split(r"(?<= )", text):
        if measure(word.rstrip(), style) <= room:
            yield word
            continue
        for part in _BREAKS.split(word):
            while part and measure(part, style) > room:
                fitting = next(n for n in range(len(part), 0, -1) if n == 1 or measure(part[:n], style) <= room)
                yield part[:fitting]
                part = part[fitting:]
            yield part
