"""When certificates are renewed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.model.renewal import DEFAULT_TTL, RenewalPolicy, retry_delay

_PART = st.floats(0, 1)


@given(st.floats(0, 1e9), st.floats(1, 1e7), _PART, _PART, _PART)
def test_always_before_the_end_and_never_before_the_beginning(
    since: float, life: float, grace: float, jitter: float, chance: float
) -> None:
    at = RenewalPolicy(life, grace, jitter).renew_at(since, since + life, chance)
    assert since - 1e-3 <= at <= since + life


def test_in_the_middle_and_not_all_at_once() -> None:
    times = [RenewalPolicy().renew_at(0, 100, chance / 10) for chance in range(11)]
    assert min(times) == pytest.approx(45)
    assert max(times) == pytest.approx(55)


def test_istios_names() -> None:
    assert RenewalPolicy.of_environment({}) == RenewalPolicy(DEFAULT_TTL, 0.5, 0.05)
    given_ = {"SECRET_TTL": "1h30m", "SECRET_GRACE_PERIOD_RATIO": "0.2", "SECRET_GRACE_PERIOD_RATIO_JITTER": "0"}
    assert RenewalPolicy.of_environment(given_) == RenewalPolicy(5400, 0.2, 0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SECRET_TTL", "1d"),
        ("SECRET_TTL", "0s"),
        ("SECRET_TTL", "-1h"),
        ("SECRET_TTL", "10000h"),
        ("SECRET_GRACE_PERIOD_RATIO", "half"),
        ("SECRET_GRACE_PERIOD_RATIO", "1.1"),
        ("SECRET_GRACE_PERIOD_RATIO_JITTER", "-0.1"),
    ],
)
def test_what_can_t_be_used_is_named(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} "):
        RenewalPolicy.of_environment({name: text})


@given(st.integers(1, 1000), _PART)
def test_tries_come_ever_later_up_to_ten_seconds(failures: int, chance: float) -> None:
    assert 0.1 <= retry_delay(failures, chance) <= 10
    assert retry_delay(failures + 1, chance) >= retry_delay(failures, chance)
