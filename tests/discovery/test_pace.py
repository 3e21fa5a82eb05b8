from __future__ import annotations

import pytest

from pilotfish.discovery.pace import LONGEST, SAVED, SHARE, Pace


def test_a_proxy_that_comes_and_then_follows_changes_never_waits() -> None:
    pace = Pace()
    assert pace.rest(0.2, 100.0) == 0
    assert not any(pace.rest(0.001, 100.0 + second / 10) for second in range(1, 600))


@pytest.mark.parametrize("took", [0.0, 0.001, 0.05])
def test_who_asks_without_end_has_its_share(took: float) -> None:
    pace, now, spent = Pace(), 100.0, 0.0
    while now < 200.0:
        spent += took
        now += took + pace.rest(took, now + took)
    assert spent <= SAVED + (now - 100.0) * SHARE + took
    assert now >= 200.0


def test_what_was_not_used_is_put_by_up_to_a_bound() -> None:
    pace = Pace()
    pace.rest(SAVED, 100.0)
    assert pace.rest(SAVED / 2, 200.0) == 0
    assert pace.rest(SAVED, 10_000.0) <= 0.1 / SHARE
    assert pace.rest(SAVED, 10_000.0) > 0


def test_one_request_that_takes_long_is_forgiven_soon() -> None:
    pace = Pace()
    assert pace.rest(10.0, 100.0) == pytest.approx(LONGEST)
    assert pace.rest(0.001, 100.0 + 2 * LONGEST) == 0
