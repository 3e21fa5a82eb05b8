"""Work that comes in pieces, driven by the loop: others have their turn between two of them."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from pilotfish.config.loading import InPieces

T = TypeVar("T")
_TURN = 0.01
"""Seconds of work after which others have their turn."""


async def in_turns(work: InPieces[T]) -> T:
    """What the work comes to."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _TURN
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result
        if loop.time() > end:
            await asyncio.sleep(0)
            end = loop.time() + _TURN
