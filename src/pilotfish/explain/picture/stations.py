"""A step as a station: its stage, what was taken, whose object asked for it, and who lost. Steps that follow of
themselves are one small station together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pilotfish.explain.picture.measure import wrap
from pilotfish.explain.picture.shapes import Dot, Shape, Station, Text
from pilotfish.explain.picture.style import TEXTS
from pilotfish.explain.report import Leg, Stop
from pilotfish.explain.trace import Stage, Verdict

RAIL: Final = 16
"""From a lane's left edge to its rail."""
_STAGE: Final = 32
"""To the stages' names, and to what they say."""
_SAYS: Final = 120
_SIGNS: Final = {Verdict.REFUSED: "×", Verdict.UNKNOWN: "?"}
_MOST_LOST: Final = 2
"""Candidates that lost and are named; the others are counted."""
_MOST_LINES: Final = 4
_UNTOLD: Final = (Stage.NETFILTER, Stage.DNS, Stage.FILTER_CHAIN, Stage.LISTENER)
"""Stages whose candidates are told only where none was taken: there are always some, and they are no user's."""


def dot_of(verdict: Verdict, x: float, y: float) -> Dot:
    return Dot(x, y, 6, f"dot-{verdict}", _SIGNS.get(verdict, ""))


def draw_stop(stop: Stop, leg: Leg, x: float, y: float, width: float) -> tuple[Station, float]:
    """And its height. `y` is its upper edge."""
    room = width - _SAYS - 8
    shapes: list[Shape] = []
    bottom = y
    for text, style, most in _lines(stop, leg):
        for line in wrap(text, TEXTS[style], room, most):
            bottom += TEXTS[style].line
            shapes.append(Text(x + _SAYS, bottom - 4, line, style))
    first = y + TEXTS["taken"].line - 4
    shapes.append(Text(x + _STAGE, first, stop.step.stage.replace("_", " "), "stage"))
    shapes.append(dot_of(stop.step.verdict, x + RAIL, first - 4))
    return Station(stop.step.id, _title(stop, leg), tuple(shapes)), bottom - y


def _lines(stop: Stop, leg: Leg) -> Iterator[tuple[str, str, int]]:
    """(text, style, how many lines of it at most)."""
    step = stop.step
    others = f" and {len(leg.alike)} more" if leg.alike and step.stage is Stage.ENDPOINT else ""
    yield f"{stop.says}{others}", str(step.verdict), _MOST_LINES
    if stop.mark is not None:
        yield ("✓ seen", "end-taken", 1) if stop.mark else ("✗ not seen", "end-refused", 1)
    if stop.owner is not None:
        yield stop.owner.object, "owner", 2
        if stop.owner.where or stop.owner.field:
            yield f"{stop.owner.where} {stop.owner.field}".strip(), "where", 2
    if step.stage is Stage.ROUTE and "why" in step.evidence:
        yield str(step.evidence["why"]), "note", 2
    yield from ((text, "note", 2) for text in _lost(stop))


def _lost(stop: Stop) -> Iterator[str]:
    lost = stop.step.rejected
    if stop.step.stage in _UNTOLD and stop.step.verdict is Verdict.TAKEN:
        return
    yield from (f"✕ {each.name}: {each.reason}" for each in lost[:_MOST_LOST])
    if len(lost) > _MOST_LOST:
        yield f"✕ {len(lost) - _MOST_LOST} more"


def _title(stop: Stop, leg: Leg) -> str:
    whose = f", {stop.owner}" if stop.owner is not None else ""
    return f"{stop.step.stage.replace('_', ' ')} at {leg.place}: {stop.says}{whose}"


def draw_folded(stops: Sequence[Stop], x: float, y: float, width: float) -> tuple[list[Shape], float]:
    """And its height."""
    style = TEXTS["note"]
    names = dict.fromkeys(stop.step.stage.replace("_", " ") for stop in stops)
    lines = wrap(", ".join(names), style, width - _STAGE - 8)
    first = y + style.line - 4
    shapes: list[Shape] = [Dot(x + RAIL, first - 4, 3, "dot-more")]
    shapes += [Text(x + _STAGE, first + number * style.line, line, "note") for number, line in enumerate(lines)]
    return shapes, style.line * len(lines)
