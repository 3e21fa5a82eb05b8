"""A Report as a page: the answer, the picture, and every step with its evidence and the candidates that lost.

Steps are opened by the browser itself (HTML's details): by pointer or keyboard, from the list or from the picture, the
stations of which are links. The page forbids itself everything else, so what users' texts hold can't become active.
Source: https://html.spec.whatwg.org/multipage/interactive-elements.html#the-details-element
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Final

from pilotfish.explain.picture.box import share_of
from pilotfish.explain.picture.shapes import Picture
from pilotfish.explain.picture.style import FONT, PALETTE, css
from pilotfish.explain.picture.svg import clean, render_inline
from pilotfish.explain.report import Leg, Report, Stop, say_observed
from pilotfish.explain.trace import Rejected
from pilotfish.explain.words import say_share

_MOST: Final = 12
"""Candidates, or replicas, that are listed at once; the others are opened."""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def render_page(report: Report, wide: Picture, narrow: Picture) -> str:
    return "\n".join(_page(report, wide, narrow)) + "\n"


def _page(report: Report, wide: Picture, narrow: Picture) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{clean(report.answer)}</title>\n<style>{_style()}</style>\n</head>\n<body>"
    yield f'<header class="end-{report.tone}"><h1>{clean(report.answer)}</h1>'
    yield f"<p>{clean(f'{report.source} → {report.asked}')}</p>"
    if (seen := say_observed(report)) is not None:
        yield f"<p>sent: {clean(seen[0])}; <strong>{clean(seen[1])}</strong></p>"
    yield "</header>\n<main>"
    for name, picture in (("wide", wide), ("narrow", narrow)):
        yield f'<figure class="{name}" tabindex="0" aria-label="The way as a picture">'
        yield render_inline(picture, "The way as a picture", lambda id: f"#step-{id}")
        yield "</figure>"
    yield '<section class="steps"><h2>Every step</h2>'
    yield '<p class="hint">Open a step for its evidence and what was not taken; stations of the picture lead here.</p>'
    yield from _leg(report.way, None)
    yield "</section>\n</main>\n<footer>pilotfish explain</footer>\n</body>\n</html>"


@cache
def _style() -> str:
    light, dark = (";".join(f"--{name}:{colours[theme]}" for name, colours in PALETTE.items()) for theme in (0, 1))
    own = files("pilotfish.explain.picture").joinpath("page.css").read_text()
    variables = f":root{{--font:{FONT};{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return f"{variables}\n{css()}\n{own}"


def _leg(leg: Leg, before: Leg | None) -> Iterator[str]:
    if before is None or not leg.is_in(before):
        by = f' <span class="where">proxy of machine {clean(leg.machine)}</span>' if leg.machine else ""
        yield f'<h3><small class="{leg.side}">{leg.side}</small>{clean(leg.place)}{by}</h3>'
    if leg.alike and leg.pod and leg.stops:
        yield from _replicas(leg)
    yield "<ol>"
    for stop in leg.stops:
        yield from _stop(stop)
    yield "</ol>"
    if leg.says:
        yield f'<p class="end end-{leg.tone}">⇒ {clean(leg.says)}</p>'
    for onward in leg.onward:
        if len(leg.onward) == 1 and len(onward.alike) == len(leg.alike):
            yield from _leg(onward, leg)
            continue
        yield f'<div class="branch"><p class="share">{share_of(onward)}</p>'
        yield from _leg(onward, leg)
        yield "</div>"


def _replicas(leg: Leg) -> Iterator[str]:
    names = [f"{each.place}: {each.stops[0].says}" for each in leg.alike if each.stops]
    yield f"<details><summary>{len(names)} more like it</summary>"
    yield f'<div class="more"><ul>{"".join(f"<li>{clean(name)}</li>" for name in names)}</ul></div></details>'


def _stop(stop: Stop) -> Iterator[str]:
    step = stop.step
    follows = "" if stop.decides else " follows"
    yield f'<li><details class="is-{step.verdict}{follows}"><summary>'
    yield f'<span class="stage">{step.stage.replace("_", " ")}</span> <span class="says">{clean(stop.says)}</span>'
    if stop.owner is not None:
        yield f' <span class="owner">{clean(stop.owner.object)}</span>'
        yield f' <span class="where">{clean(f"{stop.owner.where} {stop.owner.field}")}</span>'
    if stop.mark is not None:
        yield f" <strong>{'✓ seen' if stop.mark else '✗ not seen'}</strong>"
    yield f'</summary><div class="more" id="step-{step.id}"><dl>'
    told = {"name": step.name, "verdict": str(step.verdict), "probability": say_share(step.probability) or "100 %"}
    for key, value in (told | {f"{key} ": value for key, value in step.evidence.items()}).items():
        shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        yield f"<dt>{clean(key.strip())}</dt><dd>{clean(shown)}</dd>"
    yield "</dl>"
    if step.rejected:
        yield f"<h4>Not taken ({len(step.rejected)})</h4>"
        yield from _lost(step.rejected)
    yield "</div></details></li>"


def _lost(rejected: Iterable[Rejected]) -> Iterator[str]:
    waiting = iter(rejected)
    if shown := tuple(islice(waiting, _MOST)):
        yield f'<ul class="lost">{"".join(f"<li>{clean(each.name)}: {clean(each.reason)}</li>" for each in shown)}</ul>'
    if rest := tuple(waiting):
        yield f"<details><summary>{len(rest)} more</summary>"
        yield '<div class="more"><ul class="lost">'
        yield "".join(f"<li>{clean(each.name)}: {clean(each.reason)}</li>" for each in rest)
        yield "</ul></div></details>"
