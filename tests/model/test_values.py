from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.config.values import IntOrString
from pilotfish.model import Duration


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("0", 0),
        ("0s", 0),
        ("1ns", 1),
        ("1.5s", 1_500_000_000),
        ("100ms", 100_000_000),
        ("1h30m", 5_400_000_000_000),
        ("-2s", -2_000_000_000),
        ("+.5us", 500),
        ("2.000000005s", 2_000_000_005),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, nanos: int) -> None:
    assert Duration.parse(text) == Duration(nanos)


@pytest.mark.parametrize(
    "text", ["", "1", "s", "1 s", "1d", "1s ", "--1s", "1h-1m", "9" * 400 + "h", "293y", "300000000h"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Duration.parse(text)


@given(st.integers(0, 2**53))
def test_a_duration_as_text_means_the_same(nanos: int) -> None:
    duration = Duration(nanos)
    assert abs(Duration.parse(str(duration)).nanos - nanos) <= nanos // 10**15


def test_values_are_frozen_and_compared_by_what_they_hold() -> None:
    assert Duration(1) < Duration(2) <= Duration(2)
    assert {IntOrString(80), IntOrString(80), IntOrString("80")} == {IntOrString("80"), IntOrString(80)}
    assert Duration(80) != IntOrString(80)
    with pytest.raises(AttributeError):
        Duration(1).nanos = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Duration(1)._value = 2
