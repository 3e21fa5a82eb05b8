"""A counter of all changes that somebody may wait for."""

from __future__ import annotations

import asyncio

from pilotfish.runtime.control.server import Ended


class ChangeCounter:
    def __init__(self) -> None:
        self.counter = 0
        self._moved = asyncio.Event()
        self._is_closed = False

    def bump(self) -> None:
        self.counter += 1
        self._moved.set()
        self._moved = asyncio.Event()

    def close(self) -> None:
        """Nothing changes any more: whoever waits is told, or the mesh's end would wait for them."""
        self._is_closed = True
        self._moved.set()

    async def wait(self, since: int, seconds: float) -> int:
        """The counter, once it is past `since`, or after `seconds`. Raises Ended if it will never be."""
        deadline = asyncio.get_running_loop().time() + seconds
        while (
            self.counter <= since and not self._is_closed and (left := deadline - asyncio.get_running_loop().time()) > 0
        ):
            try:
                async with asyncio.timeout(left):
                    await self._moved.wait()
            except TimeoutError:
                break
        if self._is_closed and self.counter <= since:
            raise Ended
        return self.counter
