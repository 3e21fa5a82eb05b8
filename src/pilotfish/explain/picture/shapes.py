"""What a picture consists of. Lengths and places are pixels, from the upper left; `style` is a name in `style`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Rect:
    x: float
    y: float
    width: float
    height: float
    style: str
    radius: float = 0


@dataclass(frozen=True, slots=True)
class Text:
    """One line."""

    x: float
    y: float
    """Of the baseline."""
    text: str
    style: str
    centred: bool = False
    """`x` is its middle, not where it begins."""


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    radius: float
    style: str
    sign: str = ""
    """A character within it, for those who don't tell colours apart."""


@dataclass(frozen=True, slots=True)
class Line:
    """Straight pieces from point to point."""

    points: tuple[tuple[float, float], ...]
    style: str


@dataclass(frozen=True, slots=True)
class Curve:
    """From left to right, level at both ends, with an arrow's head."""

    x: float
    y: float
    to_x: float
    to_y: float
    style: str


@dataclass(frozen=True, slots=True)
class Station:
    """All that is drawn of one step."""

    id: int
    """The step's."""
    title: str
    """The whole of what is told, for those who point at it or can't see it."""
    shapes: tuple[Shape, ...]


Shape: TypeAlias = Rect | Text | Dot | Line | Curve | Station


@dataclass(frozen=True, slots=True)
class Picture:
    width: float
    height: float
    shapes: tuple[Shape, ...]
    """In the order in which they are drawn."""
