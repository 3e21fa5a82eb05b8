"""The way as a picture: all that is told is there, in a form that no user's text breaks, and that asks for nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

import pytest

from pilotfish.explain.picture import render_html, render_svg
from pilotfish.explain.picture.style import PALETTE, SHAPES, TEXTS
from pilotfish.explain.report import Leg, Report
from pilotfish.explain.trace import Trace
from tests.explain import traces

WAYS = {"large": traces.large, "unlike": traces.unlike, "hostile": traces.hostile}
every_way = pytest.mark.parametrize("report", [traces.report_of(make()) for make in WAYS.values()], ids=[*WAYS])


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_it_names_pods_objects_shares_and_the_answer() -> None:
    shown = " ".join(texts(render_svg(traces.report_of(traces.large()))))
    for expected in (
        "answered by web-v1-0.vm (4 %)", "503 UH by the proxy of", "client.vm", "gateway-2.istio-system",
        "VirtualService vm/web", "mesh.yaml:31", "to its proxy, port 15001", "20 × 4 %", "20 %",
        "web-v1-0.vm and 19 more like it", "✕ team-1: header x-team is", "✕ 38 more", "⇒ the app answers",
    ):  # fmt: skip
        assert expected in shown


@pytest.mark.parametrize("make", [traces.large, traces.unlike])
def test_what_is_told_of_each_step_is_in_the_picture(make: Callable[[], Trace]) -> None:
    report = traces.report_of(make())
    shown = "".join(texts(render_svg(report))).replace(" ", "")
    told = [stop.says for stop in report.stops() if stop.decides]
    assert len(told) > 10
    assert [says for says in told if says.replace(" ", "") not in shown] == []


def test_each_station_leads_to_its_step_on_the_page() -> None:
    report = traces.report_of(traces.large())
    page = render_html(report)
    links = set(re.findall(r'href="#(step-\d+)"', page))
    assert links == {f"step-{stop.step.id}" for stop in report.stops() if stop.decides}
    assert {f"step-{stop.step.id}" for stop in report.stops()} == set(re.findall(r'id="(step-\d+)"', page))


def test_ways_that_differ_are_shown_each() -> None:
    shown = " ".join(texts(render_svg(traces.report_of(traces.unlike()))))
    assert all(f"web-{number}.vm" in shown for number in range(20))
    assert "more like it" not in shown


def test_candidates_beyond_the_first_are_folded_on_the_page() -> None:
    page = render_html(traces.report_of(traces.large()))
    assert "<h4>Not taken (40)</h4>" in page
    assert "<summary>28 more</summary>" in page
    assert all(f"team-{number}: header" in page for number in range(40))


def test_replicas_that_are_folded_are_named_on_the_page() -> None:
    page = render_html(traces.report_of(traces.large()))
    assert all(f"web-v1-{number}.vm" in page for number in range(20))


@every_way
def test_an_svg_is_one_file_of_well_formed_xml(report: Report) -> None:
    svg = render_svg(report)
    root = ElementTree.fromstring(svg)
    assert "".join(root.find("{http://www.w3.org/2000/svg}title").itertext()) != ""  # type: ignore[union-attr]
    assert "script" not in {element.tag.rpartition("}")[2] for element in root.iter()}
    check_alone(svg)


@every_way
def test_a_page_forbids_and_asks_for_nothing(report: Report) -> None:
    page = render_html(report)
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert "<script" not in page
    check_alone(page)


def check_alone(text: str) -> None:
    """No file or address is asked for: links lead within the file alone."""
    assert re.findall(r"(?:src|href)\s*=\s*\"(?!#step-\d+\")[^\"]*\"", text) == []
    assert re.findall(r"url\(|@import", text) == []


def legs(leg: Leg) -> Iterator[Leg]:
    yield leg
    for onward in leg.onward:
        yield from legs(onward)


def test_shares_are_those_of_the_outcomes() -> None:
    report = traces.report_of(traces.large())
    ends = [leg for leg in legs(report.way) if leg.ending is not None]
    assert sum(leg.probability for leg in ends) == pytest.approx(1)
    assert [len(leg.alike) for leg in ends] == [19, 0]


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("style", TEXTS)
def test_every_text_stands_out_from_its_ground(style: str, theme: int) -> None:
    on_its_own = SHAPES[style].fill if style.startswith("end-") else None
    below = {
        "answer": ("taken-ground", "refused-ground", "unknown-ground"),
        "asked": ("unknown-ground", "box"),
        "sign": ("refused", "unknown"),
    }
    grounds = (on_its_own,) if on_its_own else below.get(style, ("box", "panel", "ground"))
    text = luminance(PALETTE[TEXTS[style].colour][theme])
    for ground in grounds:
        other = luminance(PALETTE[ground][theme])
        assert (max(text, other) + 0.05) / (min(text, other) + 0.05) >= 4.5, ground
