"""A Report as a picture: an SVG that stands alone, or a page with all that is known of each step. Pure.

    Report ─layout─▶ Picture ─svg─▶ text
              └ box, stations: what stands where in a pod
    Report ─page─▶ HTML: the picture twice (for wide and for narrow screens), then every step to be opened

No file asks for another, or for a network, or runs a script: they are put into incident reports and opened from there.
Plain code and no template library: most of a picture is places that are computed, and every text passes one function.
"""

from pilotfish.explain.picture.layout import arrange_below, arrange_beside
from pilotfish.explain.picture.page import render_page
from pilotfish.explain.picture.svg import render_file
from pilotfish.explain.report import Report, describe

__all__ = ["render_html", "render_svg"]


def render_svg(report: Report) -> str:
    return render_file(arrange_beside(report), report.answer, describe(report))


def render_html(report: Report) -> str:
    return render_page(report, arrange_beside(report, headed=False), arrange_below(report))
