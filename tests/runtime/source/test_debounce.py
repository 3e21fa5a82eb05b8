"""When to act on changes."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable

import pytest

from pilotfish.runtime.source import debounce
from pilotfish.runtime.source.debounce import Debounce


class Time(asyncio.SelectorEventLoop):
    """A loop that waits for nothing: where it would, its time is what it waits for."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Selector(self._pass))

    def time(self) -> float:
        return self._now

    def _pass(self, seconds: float) -> None:
        self._now += seconds


class _Selector(selectors.DefaultSelector):
    def __init__(self, wait: Callable[[float], None]) -> None:
        super().__init__()
        self._wait = wait

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._wait(timeout or 0.0)
        return super().select(0)


async def burst() -> tuple[float, float]:
    changes = Debounce()
    for _ in range(5):
        changes.poke()
    return await changes.wait(), asyncio.get_running_loop().time()


async def storm() -> tuple[float, float]:
    """A change each millisecond, for as long as it is waited for."""
    changes = Debounce()
    acting = asyncio.ensure_future(changes.wait())
    while not acting.done():
        changes.poke()
        await asyncio.sleep(0.001)
    return await acting, asyncio.get_running_loop().time()


def test_a_burst_is_one_and_a_storm_is_not_waited_out() -> None:
    with asyncio.Runner(loop_factory=Time) as runner:
        began, acted = runner.run(burst())
    assert (began, acted) == pytest.approx((0.0, debounce.QUIET), abs=0.001)
    with asyncio.Runner(loop_factory=Time) as runner:
        began, acted = runner.run(storm())
    assert (began, acted) == pytest.approx((0.0, debounce.LATEST), abs=0.005)


async def test_it_is_not_waited_for_ever() -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + 0.01
    async with asyncio.timeout(5):
        assert await Debounce().wait(until) >= until
