"""That a mesh is to end, and how far that is."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from pilotfish.runtime.node.progress import Progress

T = TypeVar("T")


class Stopped(Exception):
    """The end was asked for."""


class Ending:
    def __init__(self, progress: Progress) -> None:
        self.hurried = asyncio.Event()
        """It was asked for again: whoever waits for the end has waited enough."""
        self.gone = asyncio.Event()
        """All is torn down."""
        self._progress = progress
        self._begun = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        return self._begun.is_set()

    def ask(self, why: str) -> None:
        """A second call hurries what the first began."""
        if self.has_begun:
            self.hurried.set()
        else:
            self._progress.say(f"going down: {why}")
            self.begin()

    def begin(self) -> None:
        """Nothing becomes ready any more."""
        self._begun.set()
        self._progress.close()

    async def wait(self) -> None:
        """Until it has begun."""
        await self._begun.wait()

    async def interrupt(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns. Where the end begins first, `work` is cancelled, and Stopped is raised."""
        working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(self.wait())
        try:
            await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            working.cancel()
            await asyncio.gather(working, waiting, return_exceptions=True)
        if working.cancelled():
            raise Stopped
        return working.result()
