"""Wait until something may have changed, then look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Notice:
    """Any number may wait; each `notify` wakes all who wait then."""

    def __init__(self) -> None:
        self.count = 0
        """How often it was notified: who does something else between looking and waiting compares it."""
        self._waiting: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        self.count += 1
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()

    async def wait_for(self, condition: Callable[[], bool], seconds: float | None = None) -> bool:
        """Until the condition holds; False if it does not within that time, where one is given."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    waiter = loop.create_future()
                    self._waiting.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiting.discard(waiter)
        except TimeoutError:
            return condition()
        return True

    async def next(self, seconds: float | None = None, *, since: int | None = None) -> None:
        """Until it is notified, or so long. `since`: the `count` from which on that is so; None: the present one."""
        seen = self.count if since is None else since
        await self.wait_for(lambda: self.count != seen, seconds)
