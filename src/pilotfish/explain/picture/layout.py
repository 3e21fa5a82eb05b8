"""Where everything stands: pods beside each other in the order of the way, or, for narrow screens, below each other.

Report ─arrange─▶ Picture (shapes with their places) ─svg─▶ text
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pilotfish.explain.picture.box import Box, Exit, draw_box, share_of
from pilotfish.explain.picture.measure import measure, wrap
from pilotfish.explain.picture.shapes import Curve, Dot, Line, Picture, Rect, Shape, Text
from pilotfish.explain.picture.stations import dot_of
from pilotfish.explain.picture.style import TEXTS
from pilotfish.explain.report import Leg, Report, say_observed
from pilotfish.explain.trace import Verdict
from pilotfish.explain.words import say_share

_MARGIN: Final = 20
_TIGHT: Final = 4
"""The margin of a picture within a page."""
_BETWEEN: Final = 20
"""Boxes below each other."""
_BOX: Final = 400
_GAP: Final = 104
"""Boxes beside each other."""
_NARROW: Final = 352
_STEP: Final = 16
"""How far a box stands in that is below the one that calls it."""
_DEEPEST: Final = 3
_HEAD: Final = 34
"""From a box's upper edge to where the way comes in."""


def arrange_beside(report: Report, headed: bool = True) -> Picture:
    """Each pod in a column behind the one that calls it: for wide screens and paper. `headed`: the answer above it."""
    columns = _count(report.way)
    width = max(2 * _MARGIN + columns * (_BOX + _GAP) - _GAP, 760)
    page = _Page(width, _MARGIN if headed else _TIGHT)
    if headed:
        page.draw_head(report)
    page.place_beside(report.way)
    return page.finish()


def arrange_below(report: Report) -> Picture:
    """All pods in one column, without the answer."""
    page = _Page(_NARROW + 2 * _TIGHT, _TIGHT)
    page.place_below(report.way)
    return page.finish()


def _count(leg: Leg) -> int:
    """Of the pods on the longest way."""
    return max((_count(onward) + (not onward.is_in(leg)) for onward in leg.onward), default=1)


def _level(exits: Sequence[Exit]) -> float:
    """Where the first of the boxes behind them begins, so that several together stand level with the exits."""
    if len(exits) < 2:
        return 0
    heights = [draw_box(each.leg, 0, 0, _BOX).bottom for each in exits]
    return (exits[0].y + exits[-1].y - sum(heights) - _BETWEEN * (len(exits) - 1)) / 2


@dataclass(slots=True)
class _Page:
    width: float
    margin: float
    top: float = _TIGHT
    bottom: float = _TIGHT
    shapes: list[Shape] = field(default_factory=list)
    bottoms: dict[int, float] = field(default_factory=dict)
    """Where each column is free."""

    def draw_head(self, report: Report) -> None:
        """The answer, on its own ground, and what was asked."""
        lines = [(report.answer, "answer", 6), (f"{report.source} → {report.asked}", "asked", 4)]
        if (seen := say_observed(report)) is not None:
            lines.append((f"sent: {'; '.join(seen)}", "asked", 3))
        texts: list[Shape] = []
        y = self.margin + 8
        for text, style, most in lines:
            for line in wrap(text, TEXTS[style], self.width - 2 * self.margin - 32, most):
                y += TEXTS[style].line
                texts.append(Text(self.margin + 16, y - 4, line, style))
            y += 4
        y += 8
        self.shapes.append(
            Rect(self.margin, self.margin, self.width - 2 * self.margin, y - self.margin, f"end-{report.tone}", 10)
        )
        self.shapes += texts
        self.top = self.bottom = y + _BETWEEN

    def place_beside(self, leg: Leg, column: int = 0, y: float = 0, start: tuple[float, float] | None = None) -> None:
        """`y`: not above it. `start`: from where the way comes."""
        x = self.margin + column * (_BOX + _GAP)
        box = draw_box(leg, x, max(y, self.bottoms.get(column, self.top)), _BOX)
        self.bottoms[column] = box.bottom + _BETWEEN
        self._add(box)
        if start is not None:
            self.shapes.append(Curve(*start, box.x, box.y + _HEAD, "rail"))
            self._draw_share(leg, box.x - 12, box.y + _HEAD)
        at = max(box.y, _level(box.exits))
        for each in box.exits:
            self.place_beside(each.leg, column + 1, at, (box.x + box.width, each.y))

    def _draw_share(self, leg: Leg, right: float, y: float) -> None:
        style, share = TEXTS["share"], share_of(leg)
        if not say_share(leg.probability) and not leg.alike:
            return
        width = measure(share, style) + 12
        self.shapes.append(Rect(right - width, y - 11, width, 22, "pill", 11))
        self.shapes.append(Text(right - width / 2, y + 4, share, "share", centred=True))

    def place_below(self, leg: Leg, depth: int = 0, caller: Box | None = None) -> None:
        x = self.margin + min(depth, _DEEPEST) * _STEP
        title = f" · {share_of(leg)}" if say_share(leg.probability) or leg.alike else ""
        box = draw_box(leg, x, self.bottom, self.margin + _NARROW - x, title)
        if caller is not None:
            at = caller.x + _STEP / 2
            begin = caller.bottom if box.x > caller.x else box.y - _BETWEEN
            end = ((at, box.y + _HEAD), (box.x, box.y + _HEAD)) if box.x > caller.x else ((at, box.y),)
            self.shapes.append(Line(((at, begin), *end), "rail"))
        self._add(box)
        for each in box.exits:
            self.place_below(each.leg, depth + 1, box)

    def _add(self, box: Box) -> None:
        self.shapes += box.shapes()
        self.bottom = max(self.bottom, box.bottom + _BETWEEN)

    def finish(self) -> Picture:
        x, style = self.margin + 6, TEXTS["note"]
        y = self.bottom + 6
        dots = {str(verdict): dot_of(verdict, 0, y) for verdict in Verdict}
        for text, dot in (*dots.items(), ("follows of itself", Dot(0, y, 3, "dot-more"))):
            self.shapes += [replace(dot, x=x), Text(x + 11, y + 4, text, "note")]
            x += measure(text, style) + 28
        height = self.bottom + 16 + self.margin
        return Picture(self.width, height, (Rect(0, 0, self.width, height, "ground"), *self.shapes))
