"""When to act on changes that come in bursts: at once when little happens, later in a storm, but never much later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

QUIET = 0.01
"""Seconds without a change after which a mesh that was idle acts."""
LONGEST_QUIET = 0.1
"""In a storm: half of the time that it has lasted, but not more than this."""
LATEST = 1.0
"""Seconds after the first change by which to act in any case."""


class Debounce:
    def __init__(self) -> None:
        self._event = asyncio.Event()

    def poke(self) -> None:
        """There is a change."""
        self._event.set()

    async def __aiter__(self) -> AsyncIterator[None]:
        """Once for each burst. Changes during the body count for the next."""
        loop = asyncio.get_running_loop()
        while True:
            await self._event.wait()
            first = loop.time()
            while True:
                self._event.clear()
                now = loop.time()
                quiet = min(max(QUIET, (now - first) / 2), LONGEST_QUIET)
                try:
                    async with asyncio.timeout_at(min(now + quiet, first + LATEST)):
                        await self._event.wait()
                except TimeoutError:
                    break
            yield
