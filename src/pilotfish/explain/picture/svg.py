"""A Picture as SVG. Texts are users': all of them are escaped, and what XML does not allow is replaced.

Source: https://www.w3.org/TR/SVG2/
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Final

from pilotfish.explain.picture.shapes import Curve, Dot, Line, Picture, Rect, Shape, Station, Text
from pilotfish.explain.picture.style import css
from pilotfish.explain.words import plain

_HEAD: Final = 7
"""The length of an arrow's head."""
Target = Callable[[int], str]
"""Where somebody comes to who chooses the step of this id."""


def clean(text: str) -> str:
    """As it may stand within XML and HTML, in texts and in attributes."""
    return escape(plain(text))


def render_file(picture: Picture, title: str, description: str) -> str:
    """A file that needs no other. `description`: the way in words, for those who can't see it."""
    head = f"<title>{clean(title)}</title><desc>{clean(description)}</desc><style>{css()}</style>"
    attributes = f'width="{_n(picture.width)}" height="{_n(picture.height)}" role="img"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {attributes} {_view(picture)}>{head}{_body(picture)}</svg>\n'


def render_inline(picture: Picture, label: str, target: Target) -> str:
    """For a page that has the style. Each station leads to its step."""
    attributes = f'width="{_n(picture.width)}" height="{_n(picture.height)}" role="group" aria-label="{clean(label)}"'
    return f"<svg {attributes} {_view(picture)}>{_body(picture, target)}</svg>"


def _view(picture: Picture) -> str:
    return f'viewBox="0 0 {_n(picture.width)} {_n(picture.height)}"'


def _body(picture: Picture, target: Target | None = None) -> str:
    return "\n".join(_shape(shape, target) for shape in picture.shapes)


def _shape(shape: Shape, target: Target | None) -> str:
    match shape:
        case Rect():
            corner = f' rx="{_n(shape.radius)}"' if shape.radius else ""
            size = f'width="{_n(shape.width)}" height="{_n(shape.height)}"'
            return f'<rect class="{shape.style}" x="{_n(shape.x)}" y="{_n(shape.y)}" {size}{corner}/>'
        case Text():
            anchor = ' text-anchor="middle"' if shape.centred else ""
            return f'<text class="{shape.style}" x="{_n(shape.x)}" y="{_n(shape.y)}"{anchor}>{clean(shape.text)}</text>'
        case Dot():
            circle = f'<circle class="{shape.style}" cx="{_n(shape.x)}" cy="{_n(shape.y)}" r="{_n(shape.radius)}"/>'
            sign = Text(shape.x, shape.y + 3.5, shape.sign, "sign", centred=True)
            return circle + (_shape(sign, target) if shape.sign else "")
        case Line():
            path = " L".join(f"{_n(x)} {_n(y)}" for x, y in shape.points)
            return f'<path class="{shape.style}" d="M{path}"/>'
        case Curve():
            return _curve(shape)
        case Station():
            return _station(shape, target)


def _curve(curve: Curve) -> str:
    middle, end, y = _n((curve.x + curve.to_x) / 2), _n(curve.to_x - 1), _n(curve.to_y)
    path = f"M{_n(curve.x)} {_n(curve.y)} C{middle} {_n(curve.y)} {middle} {y} {end} {y}"
    back, above, below = _n(curve.to_x - _HEAD), _n(curve.to_y - 4), _n(curve.to_y + 4)
    return f'<path class="{curve.style}" d="{path} M{back} {above} L{end} {y} L{back} {below}"/>'


def _station(station: Station, target: Target | None) -> str:
    inside = "".join(_shape(shape, target) for shape in station.shapes)
    title = f"<title>{clean(station.title)}</title>"
    if target is None:
        return f"<g>{title}{inside}</g>"
    label = clean(station.title)
    return f'<a href="{clean(target(station.id))}" aria-label="{label}">{title}{inside}</a>'


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
