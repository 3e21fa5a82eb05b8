"""Waiting for what announces nothing: states of other processes and of the kernel, asked for again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

_PAUSE = 0.02


def wait_until(what: str, holds: Callable[[], Any], within: float = 10.0) -> Any:
    """The first true answer of `holds`."""
    deadline = time.monotonic() + within
    asked = time.monotonic()
    while not (answer := holds()):
        now = time.monotonic()
        if now > deadline:
            raise AssertionError(f"not within {within:g} s: {what}; last seen: {answer!r}")
        # To ask may take a process: it must not keep the machine from what is waited for.
        time.sleep(max(_PAUSE, now - asked))
        asked = time.monotonic()
    return answer


async def until(what: str, holds: Callable[[], Any], within: float = 10.0) -> Any:
    """The same in the event loop; what `holds` returns may be awaitable."""
    answer = None
    try:
        async with asyncio.timeout(within):
            while True:
                found = holds()
                answer = await found if asyncio.iscoroutine(found) else found
                if answer:
                    return answer
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise AssertionError(f"not within {within:g} s: {what}; last seen: {answer!r}") from None
