"""A counter of all changes that somebody may wait for."""

from __future__ import annotations

import asyncio


class ChangeCounter:
    def __init__(self) -> None:
        self.counter = 0
        self._moved = asyncio.Event()

    def bump(self) -> None:
        self.counter += 1
        self._moved.set()
        self._moved = asyncio.Event()

    async def wait(self, since: int, seconds: float) -> int:
        """The counter, once it is past `since`, or after `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.counter <= since and (left := deadline - asyncio.get_running_loop().time()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._moved.wait()
            except TimeoutError:
                break
        return self.counter
