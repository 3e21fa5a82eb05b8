"""When to act on changes that come in bursts: at once when little happens, later in a storm, but never much later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

QUIET = 0.01
"""Seconds without a change after which an idle mesh acts."""
LONGEST_QUIET = 0.1
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
            latest = loop.time() + LATEST
            quiet = QUIET
            while True:
                self._event.clear()
                try:
                    async with asyncio.timeout_at(min(loop.time() + quiet, latest)):
                        await self._event.wait()
                except TimeoutError:
                    break
                quiet = min(quiet * 2, LONGEST_QUIET)
            yield
