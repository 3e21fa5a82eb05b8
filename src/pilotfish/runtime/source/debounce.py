"""When to act on changes that come in bursts: at once when little happens, later in a storm, but never much later."""

from __future__ import annotations

import asyncio

QUIET = 0.005
"""Seconds without a change after which one that came alone is acted upon; some editors write a file in two steps."""
LONGEST_QUIET = 0.1
"""In a storm: half of the time that it has lasted, but not more than this."""
LATEST = 1.0
"""Seconds after the first change by which to act in any case."""


class Debounce:
    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def poke(self) -> None:
        """There is a change."""
        self._changed.set()

    async def wait(self, until: float | None = None) -> float:
        """Returns when a burst is over, with the loop's time when it began; at `until` if there was none by then.

        Changes after that count for the next one.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            return loop.time()
        first = loop.time()
        while True:
            self._changed.clear()
            now = loop.time()
            quiet = min(max(QUIET, (now - first) / 2), LONGEST_QUIET)
            try:
                async with asyncio.timeout_at(min(now + quiet, first + LATEST)):
                    await self._changed.wait()
            except TimeoutError:
                return first
