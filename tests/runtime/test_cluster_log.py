"""A log that is asked for again is told once."""

from __future__ import annotations

from pilotfish.runtime.cluster.log import Lines

FIRST = b"2026-11-26T07:00:00.1Z one\n2026-11-26T07:00:00.12Z two\n"


def test_lines_come_whole_however_they_are_cut() -> None:
    lines = Lines(timestamps=False)
    assert [lines.add(FIRST[:40]), lines.add(FIRST[40:45]), lines.add(FIRST[45:])] == [b"one\n", b"", b"two\n"]


def test_their_times_stay_where_they_are_wanted() -> None:
    assert Lines(timestamps=True).add(FIRST) == FIRST


def test_what_was_told_is_not_told_again_and_what_came_in_the_same_second_is() -> None:
    lines = Lines(timestamps=False)
    lines.add(FIRST)
    lines.begin_again()
    assert lines.since == "2026-11-26T07:00:00Z"
    again = FIRST + b"2026-11-26T07:00:00.123456789Z three\n2026-11-26T07:00:01Z four\n"
    assert lines.add(again) == b"three\nfour\n"


def test_lines_of_one_moment_are_all_told() -> None:
    lines = Lines(timestamps=False)
    assert lines.add(b"2026-11-26T07:00:00Z a\n2026-11-26T07:00:00Z b\n") == b"a\nb\n"


def test_an_end_without_a_newline_is_told_when_the_log_ends() -> None:
    lines = Lines(timestamps=False)
    assert lines.add(b"2026-11-26T07:00:00Z half") == b""
    assert lines.begin_again() == b"half"
    assert Lines(timestamps=False).since == ""
