"""A request's way for a terminal: the answer first, then a line a step; with `verbose` the evidence and who lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from pilotfish.cli.render.table import columns
from pilotfish.explain.report import say_observed
from pilotfish.explain.words import plain, say_share

if TYPE_CHECKING:
    from pilotfish.explain.report import Leg, Report, Stop

_COLOURS: Final = {"taken": "green", "refused": "red", "unknown": "yellow"}
_BARE: Final = ("why", "verdict", "rule", "detected")
"""Evidence that says by itself what it is."""
_MARKS: Final = {True: " ✓", False: " ✗"}
_STAGE: Final = 16
"""Columns of a stage's name, and a space."""
_MOST_LOST: Final = 3
"""Candidates that are told of a step that took none, where not all is asked for."""


def render_way(report: Report, verbose: bool = False, width: int | None = None) -> str:
    """`width`: columns to wrap at; None leaves lines as long as they are."""
    lines = [("", _styled(report.answer, bold=True)), ("", "")]
    lines += _leg(report.way, None, 0, verbose, f" → {report.asked}")
    if (seen := say_observed(report)) is not None:
        colour = "green" if report.observed is not None and seen[1] == "as predicted" else "red"
        lines += [("", ""), ("", f"{click.style('sent:', bold=True)} {plain(seen[0])}; {_styled(seen[1], fg=colour)}")]
    if not verbose and not all(stop.decides for stop in report.stops()):
        lines += [("", ""), ("", click.style("-v shows every step, and the candidates that lost", dim=True))]
    return "".join(f"{line}\n" for head, text in lines for line in _wrapped(head, text, width))


def _leg(leg: Leg, before: Leg | None, depth: int, verbose: bool, asked: str = "") -> Iterator[tuple[str, str]]:
    """`asked`: what is said beside the first."""
    indent = "  " * depth
    if before is None or not leg.is_in(before):
        more = plain(f"{_others(leg, verbose)}{_served(leg)}{asked}")
        yield indent, f"{_styled(f'{leg.side} {leg.place}', bold=True)}{more}"
    for stop in leg.stops:
        if verbose or stop.decides:
            yield from _stop(stop, leg, f"{indent}  ", verbose)
    if leg.says:
        yield f"{indent}  ", f"{click.style('⇒', bold=True)} {plain(leg.says)}"
    parts = len(leg.onward) > 1
    for onward in leg.onward:
        if parts:
            yield f"{indent}  ", click.style(say_share(onward.probability), bold=True)
        yield from _leg(onward, leg, depth + parts, verbose)


def _styled(text: str, **style: Any) -> str:
    return click.style(plain(text), **style)


def _others(leg: Leg, verbose: bool) -> str:
    """Of replicas, of which one is shown."""
    if not leg.alike or not leg.pod:
        return ""
    names = f": {', '.join(other.place for other in leg.alike)}" if verbose else ""
    return f" and {len(leg.alike)} more like it{names}"


def _served(leg: Leg) -> str:
    return f", by the proxy of machine {leg.machine}" if leg.machine else ""


def _stop(stop: Stop, leg: Leg, indent: str, verbose: bool) -> Iterator[tuple[str, str]]:
    step = stop.step
    said = "; ".join((step.name, *_evidence(step.evidence.items()))) if verbose else stop.says
    name = _styled(said, fg=_COLOURS[step.verdict]) + (_MARKS[stop.mark] if stop.mark is not None else "")
    whose = f"  {_styled(str(stop.owner), dim=True)}" if stop.owner is not None else ""
    more = f" and {len(leg.alike)} more" if leg.alike and step.stage == "endpoint" else ""
    yield f"{indent}{step.stage.replace('_', ' '):<{_STAGE}}", f"{name}{more}{whose}"
    told = len(step.rejected) if verbose else _MOST_LOST if step.verdict == "refused" else 0
    for lost in step.rejected[:told]:
        yield f"{indent}{'':<{_STAGE}}", _styled(f"not {lost.name}: {lost.reason}", dim=True)
    if 0 < told < len(step.rejected):
        yield f"{indent}{'':<{_STAGE}}", click.style(f"nor {len(step.rejected) - told} more", dim=True)


def _evidence(evidence: Iterable[tuple[str, object]]) -> Iterator[str]:
    for key, value in evidence:
        shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        yield shown if key in _BARE else f"{key} {shown}"


def _wrapped(head: str, text: str, width: int | None) -> Iterator[str]:
    """Lines no wider than `width`, as far as their words let them: each begins where the first text does."""
    line, room = "", max(20, (width or 0) - len(head))
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if width is None or not line or columns(click.unstyle(longer)) <= room:
            line = longer
            continue
        yield f"{head}{line}"
        head, line = " " * len(head), word
    yield f"{head}{line}".rstrip()
