"""When to act on changes."""

from __future__ import annotations

import asyncio

from pilotfish.runtime.source import debounce
from pilotfish.runtime.source.debounce import Debounce


async def test_a_burst_is_one_and_a_storm_is_not_waited_out() -> None:
    changes = Debounce()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(5):
        changes.poke()
    async with asyncio.timeout(5):
        assert began <= await changes.wait() <= loop.time() - debounce.QUIET
    storm = loop.time()
    acting = loop.create_task(changes.wait())
    async with asyncio.timeout(5):
        while not acting.done():
            changes.poke()
            await asyncio.sleep(0.001)
    assert debounce.LATEST <= loop.time() - storm < debounce.LATEST + 0.5
    assert storm <= await acting < storm + 0.5, "when it began is told"


async def test_it_is_not_waited_for_ever() -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + 0.01
    async with asyncio.timeout(5):
        assert await Debounce().wait(until) >= until
