"""What is told of a way, whoever shows it: legs that part and are folded, words, and what was really seen."""

from __future__ import annotations

from dataclasses import replace

import click
import pytest

from pilotfish.cli.render.way import render_way
from pilotfish.explain.accesslog import parse_access_log
from pilotfish.explain.live import Observed
from pilotfish.explain.picture import render_html, render_svg
from pilotfish.explain.report import Report, build_report, describe
from pilotfish.explain.trace import Branch, End, Outcome, Side, Stage, Tape, Trace, Verdict
from pilotfish.explain.words import plain
from tests.explain import traces


def text(report: Report) -> str:
    return click.unstyle(render_way(report))


def test_three_alike_are_shown_each_and_four_as_one() -> None:
    for count, shown in ((3, 3), (4, 1)):
        tape = Tape()
        at = traces.cluster(traces.route(traces.client(tape)), "")
        for number in range(count):
            traces.answer(traces.endpoint(at, number, 1 / count, f"web-{number}.vm"))
        report = traces.report_of(tape.trace())
        assert len(report.way.onward) == shown
        assert sum(leg.probability for leg in report.way.onward) == pytest.approx(1)


def test_one_that_differs_stands_by_itself() -> None:
    tape = Tape()
    at = traces.cluster(traces.route(traces.client(tape)), "")
    for number in range(5):
        there = traces.endpoint(at, number, 0.2, f"web-{number}.vm")
        if number == 2:
            there.step(Stage.APP, "10.244.0.2:8000", verdict=Verdict.REFUSED).end(End.REFUSED, "nothing listens there")
        else:
            traces.answer(there)
    folded, refused = traces.report_of(tape.trace()).way.onward
    assert [leg.onward[0].place for leg in folded.alike] == ["web-1.vm", "web-3.vm", "web-4.vm"]
    assert (refused.onward[0].pod, refused.probability) == ("web-2.vm", 0.2)


def test_a_way_without_a_step_is_told() -> None:
    tape = Tape()
    Branch(tape).end(End.UNKNOWN, "no gateway listens on port 80")
    report = traces.report_of(tape.trace())
    assert text(report).startswith("unknown: no gateway listens on port 80\n\nclient outside → http://web/\n")
    assert "no gateway listens on port 80" in render_svg(report)


LINE = (
    '[2026-11-22T22:48:01.179Z] "GET / HTTP/1.1" 503 UF - - "-" 0 0 1 - "-" "curl" "id" "web" "10.244.0.9:8000" '
    "outbound|80|{subset}|web.vm.svc.cluster.local - 10.96.0.9:80 10.244.0.2:35260 - rest"
)


def sent(subset: str, status: int) -> Report:
    tape = Tape()
    at = traces.route(traces.client(tape))
    traces.answer(traces.endpoint(traces.cluster(at, "v1"), 9, 1.0, "web-0.vm"))
    entry = parse_access_log(LINE.format(subset=subset))
    seen = Observed(status, End.DELIVERED, entry, frozenset({"nat/ISTIO_REDIRECT/1"}))
    return build_report("client.vm", traces.ASK, tape.trace(), {}, seen)


def test_what_was_sent_confirms_or_contradicts() -> None:
    said = text(sent("v1", 200))
    assert "subset v1 of web.vm.svc.cluster.local:80 ✓" in said
    assert "endpoint        10.244.0.9:8000 ✓" in said
    assert "\nsent: status 200, flag UF, route rest, cluster outbound|80|v1|web.vm.svc.cluster.local, " in said
    assert said.rstrip().splitlines()[-3].endswith("; as predicted")
    wrong = text(sent("v2", 503))
    assert "subset v1 of web.vm.svc.cluster.local:80 ✗" in wrong
    assert "; not as predicted: outbound|80|v1|web.vm.svc.cluster.local" in wrong
    assert "✗ not seen" in render_svg(sent("v2", 503))
    assert "not as predicted: outbound|80|v1|" in render_html(sent("v2", 503))


def test_no_text_of_a_user_acts_on_a_terminal_or_reorders_a_line() -> None:
    report = traces.report_of(traces.hostile())
    for said in (render_way(report), render_way(report, verbose=True)):
        assert plain(click.unstyle(said).replace("\n", " ")) == click.unstyle(said).replace("\n", " ")
        assert "\ufffd[31m" in said
    assert plain("a\u202eb\x9bc\u200dd") == "a\ufffdb\ufffdc\ufffdd"
    assert plain("日本語 é ✓ 😀") == "日本語 é ✓ 😀"


def test_lines_are_wrapped_below_where_their_text_begins() -> None:
    lines = render_way(traces.report_of(traces.large()), width=50).splitlines()
    assert max(map(len, map(click.unstyle, lines))) <= 50
    at = next(number for number, line in enumerate(lines) if line.strip().startswith("route"))
    assert lines[at + 1].startswith(" " * 18)


def test_a_description_has_all_that_decides() -> None:
    said = describe(traces.report_of(traces.large()))
    for expected in ("route: rest", "gateway gateway-1.istio-system:", "subset v3 of web", "503 UH"):
        assert expected in said


@pytest.mark.parametrize(
    ("end", "tone"),
    [
        (Outcome(1.0, End.DELIVERED, 0, pod="web.vm"), Verdict.TAKEN),
        (Outcome(1.0, End.DELIVERED, 0), Verdict.UNKNOWN),
        (Outcome(1.0, End.RESPONSE, 0, 302), Verdict.TAKEN),
        (Outcome(1.0, End.RESPONSE, 0, 503, "UH"), Verdict.REFUSED),
        (Outcome(1.0, End.REFUSED, 0), Verdict.REFUSED),
        (Outcome(1.0, End.UNKNOWN, 0), Verdict.UNKNOWN),
    ],
)
def test_an_answer_has_the_colour_of_what_becomes_of_the_request(end: Outcome, tone: Verdict) -> None:
    report = traces.report_of(Trace((), (end,)))
    assert report.tone is tone
    mixed = traces.report_of(Trace((), (replace(end, probability=0.5), Outcome(0.5, End.RESET, 0))))
    assert mixed.tone is (tone if tone is Verdict.REFUSED else Verdict.UNKNOWN)


@pytest.mark.parametrize(("source", "shown"), [("past.vm", "past.vm"), ("outside", "outside")])
def test_a_way_begins_at_its_client_even_where_no_step_is_taken_there(source: str, shown: str) -> None:
    tape = Tape()
    traces.answer(Branch(tape).beyond(side=Side.SERVER, pod="web.vm"))
    report = build_report(source, traces.ASK, tape.trace(), {})
    assert f"\n\nclient {shown} → http://web/\nserver web.vm\n" in text(report)
    assert f">{shown}</text>" in render_svg(report)
