"""How everything in a picture looks: the sizes that layout and drawing share, and colours for light and dark.

Colours are written out rather than as CSS variables: not every program that shows an SVG knows those. Every text stands
on its ground with a contrast of 4.5 to 1 or more (WCAG 2.2, 1.4.3), which a test holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"

PALETTE: Final[Mapping[str, tuple[str, str]]] = {
    "ground": ("#ffffff", "#0f141b"),
    "box": ("#f5f7fa", "#171e28"),
    "panel": ("#ffffff", "#202a36"),
    "edge": ("#cfd6df", "#384555"),
    "rail": ("#9aa7b6", "#5c6b7d"),
    "ink": ("#17202b", "#e8edf3"),
    "muted": ("#566372", "#a3b0bf"),
    "accent": ("#1a56b0", "#86b7ff"),
    "taken": ("#0b6e55", "#4fcf9f"),
    "refused": ("#b3261e", "#ff9388"),
    "unknown": ("#855a00", "#e6b84c"),
    "taken-ground": ("#e3f4ee", "#12352b"),
    "refused-ground": ("#fdeae8", "#43201e"),
    "unknown-ground": ("#fbf1d9", "#3a2f14"),
    "client": ("#3f51a3", "#a9b6ff"),
    "gateway": ("#7a3d9c", "#d9a8f5"),
    "server": ("#0b6e55", "#4fcf9f"),
}
"""Name → (light, dark)."""


@dataclass(frozen=True, slots=True)
class TextStyle:
    size: float
    """Pixels, as all lengths here."""
    colour: str
    bold: bool = False

    @property
    def line(self) -> float:
        """The height of a line."""
        return round(self.size * 1.4)


TEXTS: Final[Mapping[str, TextStyle]] = {
    "answer": TextStyle(18, "ink", bold=True),
    "asked": TextStyle(13, "muted"),
    "client": TextStyle(11, "client", bold=True),
    "gateway": TextStyle(11, "gateway", bold=True),
    "server": TextStyle(11, "server", bold=True),
    "place": TextStyle(14, "ink", bold=True),
    "part": TextStyle(11, "muted", bold=True),
    "stage": TextStyle(12, "muted"),
    "taken": TextStyle(13, "ink"),
    "refused": TextStyle(13, "refused", bold=True),
    "unknown": TextStyle(13, "unknown", bold=True),
    "owner": TextStyle(12, "accent", bold=True),
    "where": TextStyle(12, "accent"),
    "note": TextStyle(12, "muted"),
    "share": TextStyle(12, "ink", bold=True),
    "sign": TextStyle(10, "ground", bold=True),
    "end-taken": TextStyle(13, "taken", bold=True),
    "end-refused": TextStyle(13, "refused", bold=True),
    "end-unknown": TextStyle(13, "unknown", bold=True),
}


@dataclass(frozen=True, slots=True)
class ShapeStyle:
    fill: str = "none"
    stroke: str = "none"
    width: float = 1


SHAPES: Final[Mapping[str, ShapeStyle]] = {
    "ground": ShapeStyle("ground"),
    "box": ShapeStyle("box", "edge"),
    "panel": ShapeStyle("panel", "edge"),
    "pill": ShapeStyle("ground", "rail"),
    "rail": ShapeStyle("none", "rail", 2),
    "dot-taken": ShapeStyle("taken", "panel", 2),
    "dot-refused": ShapeStyle("refused", "panel", 2),
    "dot-unknown": ShapeStyle("unknown", "panel", 2),
    "dot-more": ShapeStyle("panel", "rail", 2),
    "end-taken": ShapeStyle("taken-ground"),
    "end-refused": ShapeStyle("refused-ground"),
    "end-unknown": ShapeStyle("unknown-ground"),
    "client": ShapeStyle("client"),
    "gateway": ShapeStyle("gateway"),
    "server": ShapeStyle("server"),
}


def css() -> str:
    """Of a picture. On paper it is light."""
    sizes = "".join(
        f"svg text.{name}{{font-size:{style.size:g}px{';font-weight:600' if style.bold else ''}}}"
        for name, style in TEXTS.items()
    )
    widths = "".join(f"svg .{name}:not(text){{stroke-width:{style.width:g}}}" for name, style in SHAPES.items())
    dark = f"@media screen and (prefers-color-scheme:dark){{{''.join(_colours(1))}}}"
    return f"svg text{{font-family:{FONT}}}{sizes}{widths}{''.join(_colours(0))}{dark}"


def _colours(theme: int) -> Iterator[str]:
    colours = {name: pair[theme] for name, pair in PALETTE.items()} | {"none": "none"}
    for name, text in TEXTS.items():
        yield f"svg text.{name}{{fill:{colours[text.colour]}}}"
    for name, shape in SHAPES.items():
        yield f"svg .{name}:not(text){{fill:{colours[shape.fill]};stroke:{colours[shape.stroke]}}}"
