"""A pod as a box: who it is, then the way through it, a panel for each part (its name server, kernel, proxy, app).

Where chance decides within the pod, lanes part from each other; where the way leaves it, the box has an exit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from pilotfish.explain.picture.measure import wrap
from pilotfish.explain.picture.shapes import Dot, Line, Rect, Shape, Text
from pilotfish.explain.picture.stations import RAIL, draw_folded, draw_stop
from pilotfish.explain.picture.style import TEXTS
from pilotfish.explain.report import Leg, Stop
from pilotfish.explain.trace import Stage
from pilotfish.explain.words import say_share

PADDING: Final = 12
_GAP: Final = 8
_INDENT: Final = 22
"""Of a lane that parts from another."""
_NARROWEST: Final = 250
"""No lane is indented further."""
_PARTS: Final = {Stage.DNS: "name", Stage.NETFILTER: "kernel", Stage.APP: "app"}


@dataclass(frozen=True, slots=True)
class Exit:
    y: float
    leg: Leg
    """That goes on elsewhere."""


@dataclass(slots=True)
class Box:
    x: float
    y: float
    width: float
    bottom: float
    ground: list[Shape] = field(default_factory=list)
    rails: list[Shape] = field(default_factory=list)
    front: list[Shape] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    """From the top down."""

    def shapes(self) -> tuple[Shape, ...]:
        frame = Rect(self.x, self.y, self.width, self.bottom - self.y, "box", 10)
        return (frame, *self.ground, *self.rails, *self.front)


def draw_box(leg: Leg, x: float, y: float, width: float, title: str = "") -> Box:
    """From the leg with which the way comes into the pod. `title`: what is said beside its part."""
    box = Box(x, y, width, y + PADDING)
    _draw_head(box, leg, title)
    _Lane(box, x + PADDING, width - 2 * PADDING).draw(leg)
    box.bottom += PADDING - _GAP
    return box


def _draw_head(box: Box, leg: Leg, title: str) -> None:
    side = str(leg.side)
    box.ground.append(Rect(box.x, box.y, box.width, 4, side, 2))
    more = f" and {len(leg.alike)} more like it" if leg.alike and leg.pod else ""
    for text, style in ((f"{side.upper()}{title}", side), (f"{leg.place}{more}", "place")):
        for line in wrap(text, TEXTS[style], box.width - 2 * PADDING, 3):
            box.bottom += TEXTS[style].line
            box.front.append(Text(box.x + PADDING, box.bottom - 4, line, style))
    box.bottom += _GAP


@dataclass(frozen=True, slots=True)
class _Lane:
    box: Box
    x: float
    width: float

    def draw(self, leg: Leg, fork: tuple[float, float] | None = None) -> None:
        """`fork`: the place on another lane's rail that it parts from."""
        rail = [self._part(leg, fork)] if fork is not None else []
        for name, stops in groupby(leg.stops, _part_of):
            rail += self._panel(name, tuple(stops), leg)
        if len(rail) > 1:
            at = self.x + RAIL
            self.box.rails.append(Line(((at, rail[0]), (at, rail[-1])), "rail"))
        if leg.says:
            self._end(leg)
        self._go_on(leg, rail)

    def _part(self, leg: Leg, fork: tuple[float, float]) -> float:
        """The branch from the fork, with its share; where this lane's rail begins."""
        box, style = self.box, TEXTS["share"]
        middle = box.bottom + style.line / 2
        at = self.x + RAIL
        if fork[0] == at:  # not indented: a line from there would cross other lanes
            fork = (at, middle - _GAP)
        box.rails.append(Line((fork, (fork[0], middle), (at, middle)), "rail"))
        box.front.append(Text(at + 10, middle + 4, share_of(leg), "share"))
        box.bottom += style.line + 4
        return middle

    def _panel(self, name: str, stops: tuple[Stop, ...], leg: Leg) -> list[float]:
        """The heights of its stations' dots."""
        box, top, style = self.box, self.box.bottom, TEXTS["part"]
        for line in wrap(name.upper(), style, self.width - 40):
            box.bottom += style.line
            box.front.append(Text(self.x + 32, box.bottom - 1, line, "part"))
        box.bottom += 4
        dots = []
        for told, group in groupby(stops, lambda stop: stop.decides):
            if told:
                for stop in group:
                    station, height = draw_stop(stop, leg, self.x, box.bottom, self.width)
                    dots += [shape.y for shape in station.shapes if isinstance(shape, Dot)]
                    box.front.append(station)
                    box.bottom += height + 4
            else:
                shapes, height = draw_folded(tuple(group), self.x, box.bottom, self.width)
                dots += [shape.y for shape in shapes if isinstance(shape, Dot)]
                box.front += shapes
                box.bottom += height + 4
        box.bottom += 4
        box.ground.append(Rect(self.x, top, self.width, box.bottom - top, "panel", 6))
        box.bottom += _GAP
        return dots

    def _end(self, leg: Leg) -> None:
        box, name = self.box, f"end-{leg.tone}"
        style, top = TEXTS[name], self.box.bottom
        for line in wrap(f"⇒ {leg.says}", style, self.width - 16, 8):
            box.bottom += style.line
            box.front.append(Text(self.x + 8, box.bottom + 2, line, name))
        box.bottom += 12
        box.ground.append(Rect(self.x, top, self.width, box.bottom - top, name, 6))
        box.bottom += _GAP

    def _go_on(self, leg: Leg, rail: list[float]) -> None:
        fork = (self.x + RAIL, rail[-1] if rail else self.box.bottom)
        out = rail[-1] if rail else self.box.bottom - 2 * _GAP
        indent = _INDENT if self.width - _INDENT >= _NARROWEST else 0
        for onward in leg.onward:
            if not onward.is_in(leg):
                self.box.exits.append(Exit(out, onward))
                continue
            _Lane(self.box, self.x + indent, self.width - indent).draw(onward, fork)


def _part_of(stop: Stop) -> str:
    machine = stop.step.machine
    return _PARTS.get(stop.step.stage, f"proxy of machine {machine}" if machine else "proxy")


def share_of(leg: Leg) -> str:
    """`90 %`, or `20 × 5 %` where it stands for several that have the same."""
    count = len(leg.alike) + 1
    parts = {round(each.probability, 6) for each in leg.alike}
    each = (leg.probability) / count
    if leg.alike and parts == {round(each, 6)}:
        return f"{count} × {say_share(each)}"
    whole = say_share(leg.probability) or "100 %"
    return f"{count}, {whole} together" if leg.alike else whole
