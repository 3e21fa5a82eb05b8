"""A failure is somebody's due, or it is not."""

from __future__ import annotations

from tests.chaos.ledger import Allowance, Failure, judge


def failures(flow: str, count: int) -> list[Failure]:
    return [Failure(flow, float(at), "503 after 0.10 s") for at in range(count)]


def test_without_an_allowance_each_counts() -> None:
    assert judge(failures("steady", 1), ()) == tuple(failures("steady", 1))


def test_as_many_as_are_allowed_are_nothing() -> None:
    assert judge(failures("victim", 3), [Allowance((("victim", 3),))]) == ()


def test_of_one_more_all_are_shown() -> None:
    assert len(judge(failures("victim", 4), [Allowance((("victim", 3),))])) == 4


def test_an_allowance_is_for_its_flow_alone() -> None:
    seen = failures("victim", 3) + failures("steady", 1)
    assert judge(seen, [Allowance((("victim", 9),))]) == tuple(failures("steady", 1))


def test_what_several_allow_adds_up() -> None:
    both = [Allowance((("victim", 2), ("caller", 1))), Allowance((("victim", 2),))]
    assert judge(failures("victim", 4) + failures("caller", 1), both) == ()
