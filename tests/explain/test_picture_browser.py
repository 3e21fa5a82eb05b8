"""Pictures and pages as a real browser shows them: nothing overlaps, overflows, is asked for or complained of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilotfish.explain.picture import render_html, render_svg
from tests.explain import traces
from tests.explain.browser import Page, browse, find_browser

WAYS = {"large": traces.large, "unlike": traces.unlike, "parted": traces.parted, "hostile": traces.hostile}
every_way = pytest.mark.parametrize("name", WAYS)
TAB, ENTER = ("Tab", 9), ("Enter", 13)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    program = find_browser()
    if program is None:
        pytest.skip("no browser: apt-get install chromium-headless-shell")
    with browse(program, tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def written(folder: Path, name: str, form: str) -> Path:
    report = traces.report_of(WAYS[name]())
    file = folder / f"{name}.{form}"
    file.write_text(render_svg(report) if form == "svg" else render_html(report))
    if kept := os.environ.get("PICTURES"):  # to look at them
        (Path(kept) / file.name).write_text(file.read_text())
    return file


PLACES = """[...document.querySelectorAll('svg')].filter(svg => svg.getClientRects().length).map(svg => {
    const place = element => { const {left, top, right, bottom} = element.getBoundingClientRect();
                               return {left, top, right, bottom, text: element.textContent}; };
    const all = selector => [...svg.querySelectorAll(selector)].map(place);
    const points = path => Array.from({length: path.getTotalLength() / 3}, (_, i) => {
        const {x, y} = path.getPointAtLength(3 * i).matrixTransform(path.getScreenCTM());
        return {left: x, right: x, top: y, bottom: y}; });
    return {points: [...svg.querySelectorAll('path.rail')].flatMap(points),
            plain: all('text:not([text-anchor])'), whole: place(svg), texts: all('text'), rects: all('rect'),
            boxes: all('rect.box'), panels: all('rect.panel')}; })"""
Place = dict[str, Any]


def overlap(one: Place, other: Place) -> bool:
    across = min(one["right"], other["right"]) - max(one["left"], other["left"])
    down = min(one["bottom"], other["bottom"]) - max(one["top"], other["top"])
    return bool(across > 1 and down > 2)  # lines stand as close as their letters' boxes


def within(inner: Place, outer: Place) -> bool:
    sides = inner["left"] >= outer["left"] - 0.5 and inner["right"] <= outer["right"] + 0.5
    return bool(sides and inner["top"] >= outer["top"] - 2 and inner["bottom"] <= outer["bottom"] + 2)


def check_places(drawn: list[Place]) -> None:
    assert len(drawn) == 1
    for kind in ("texts", "boxes", "panels"):
        found = drawn[0][kind]
        assert found != []
        pairs = [(one, other) for i, one in enumerate(found) for other in found[:i] if overlap(one, other)]
        assert pairs == [], kind
        assert [each["text"] for each in found if not within(each, drawn[0]["whole"])] == []
    # Lines run between texts; a pill lies on its line.
    for text in drawn[0]["plain"]:
        assert not any(within(point, text) for point in drawn[0]["points"]), text["text"]
    # A text that begins in a rectangle stays in it: pills, panels, boxes, grounds.
    for text in drawn[0]["texts"]:
        start = {**text, "right": text["left"] + 1}
        around = [rect for rect in drawn[0]["rects"] if within(start, rect)]
        assert all(within(text, rect) for rect in around), text["text"]


@every_way
def test_nothing_of_a_picture_overlaps_or_overflows(page: Page, tmp_path: Path, name: str) -> None:
    file = written(tmp_path, name, "svg")
    page.open(file)
    check_places(page.run(PLACES))
    assert page.requests() == [file.as_uri()]
    assert page.complaints() == []


@every_way
@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_of_a_page_overlaps_or_overflows(page: Page, tmp_path: Path, name: str, width: int) -> None:
    file = written(tmp_path, name, "html")
    page.open(file, width)
    check_places(page.run(PLACES))
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.requests() == [file.as_uri()]
    assert page.complaints() == []


def test_the_keyboard_opens_a_step_from_the_list_and_from_the_picture(page: Page, tmp_path: Path) -> None:
    page.open(written(tmp_path, "large", "html"))
    opened = "[...document.querySelectorAll('details[open] > .more')].map(each => each.id)"
    assert page.run(opened) == []
    page.run("document.querySelector('.steps summary').focus()")
    page.press(*ENTER, text="\r")
    assert page.run(opened) == ["step-0"]
    page.run("document.querySelector('figure.wide').focus()")
    page.press(*TAB)
    page.press(*TAB)
    assert page.run("document.activeElement.getAttribute('href')") == "#step-1"
    page.press(*ENTER, text="\r")
    assert page.run(opened) == ["step-0", "step-1"]
    assert page.run("document.querySelector('#step-1').getBoundingClientRect().top < innerHeight")


def test_what_reads_aloud_finds_steps_and_their_names(page: Page, tmp_path: Path) -> None:
    page.open(written(tmp_path, "large", "html"))
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    said = {(n.get("role", {}).get("value"), n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]}
    assert ("link", "route at client.vm: rest, VirtualService vm/web mesh.yaml:31 spec.http[0]") in said
    assert any(role == "heading" and name.startswith("answered by") for role, name in said)
    assert any(role == "DisclosureTriangle" and "VirtualService vm/web" in name for role, name in said)
    assert [name for role, name in said if role == "link" and not name] == []


def test_in_the_dark_and_on_paper(page: Page, tmp_path: Path) -> None:
    file = written(tmp_path, "large", "html")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    page.open(file, prefers_color_scheme="dark")
    assert page.run(ground) == "rgb(15, 20, 27)"
    page.call("Emulation.setEmulatedMedia", media="print")
    assert page.run(ground) == "rgb(255, 255, 255)"
    evidence = "document.querySelector('#step-1 dd').checkVisibility()"
    assert page.run(evidence), "what nobody opened is on paper, too"
    page.call("Emulation.setEmulatedMedia", media="")
    assert not page.run(evidence)


def test_a_hostile_text_stays_text(page: Page, tmp_path: Path) -> None:
    for form in ("svg", "html"):
        page.open(written(tmp_path, "hostile", form))
        assert page.run("document.querySelectorAll('script').length") == 0
        assert "<script>alert(1)</script>" in page.run("document.documentElement.textContent")
