"""When Envoy is started again."""

import pytest

from pilotfish.agent.backoff import count_failure, restart_delay


@pytest.mark.parametrize(
    ("failures", "delay"), [(0, 0), (1, 0), (2, 0.2), (3, 0.4), (7, 6.4), (8, 10), (9, 10), (10**6, 10)]
)
def test_restart_delay(failures: int, delay: float) -> None:
    assert restart_delay(failures, served=False) == pytest.approx(delay)


def test_one_that_served_may_end_a_few_times() -> None:
    assert [restart_delay(failures, served=True) for failures in range(1, 8)] == [0, 0, 0, 0, 0, 0.2, 0.4]


def test_a_stable_minute_wipes_out_failures() -> None:
    assert count_failure(7, 59.9, served=False) == 8
    assert count_failure(7, 60, served=False) == 1


def test_one_that_served_waits_from_the_sixth_end_within_a_minute() -> None:
    assert count_failure(5, 11.9, served=True) == 6
    assert count_failure(5, 12, served=True) == 1
