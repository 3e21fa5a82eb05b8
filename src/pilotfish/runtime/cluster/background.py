"""An event loop beside who blocks: the command line is no coroutine, and asks many at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar

T = TypeVar("T")
A = TypeVar("A")
_END: Final = 2.0
"""Seconds for what is under way when it ends."""


class Background:
    """Runs coroutines in a thread of its own, from `__init__` to `close`. Any thread may call."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cluster", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What it comes to, or raises. A caller that is interrupted ends the work, too."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """It goes on by itself."""

        async def begin() -> asyncio.Future[T]:
            return asyncio.ensure_future(work)

        return self.run(begin())

    def cancel(self, task: asyncio.Future[Any]) -> None:
        self._loop.call_soon_threadsafe(task.cancel)

    @property
    def is_open(self) -> bool:
        return self._loop.is_running()

    def close(self) -> None:
        self.run(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_END)
        if not self._thread.is_alive():
            self._loop.close()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=_END) if tasks else None


async def at_most(count: int, work: Callable[[A], Awaitable[T]], arguments: Iterable[A]) -> list[T | Exception]:
    """So many at a time; each answer, or what it raised, in the order of the arguments."""
    gate = asyncio.Semaphore(count)

    async def one(argument: A) -> T:
        async with gate:
            return await work(argument)

    found = await asyncio.gather(*map(one, arguments), return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException) and not isinstance(each, Exception):
            raise each
    return [each for each in found if not isinstance(each, BaseException) or isinstance(each, Exception)]
