"""What meshes share on the host is changed by one of them at a time, be they in several processes."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pilotfish.runtime.linux.netns import DIRECTORY


@asynccontextmanager
async def one_at_a_time() -> AsyncIterator[None]:
    """Two that start together must not choose the same subnet, nor one switch off what another has just found on."""
    DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    lock = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
