"""What the first process of a container owes the others: to wait for those whose parents have ended.

`kubectl exec`, hooks and probes start processes beside ours, and theirs become ours when they end before their children
do. Nobody else would ever wait for those, and their numbers would run out (pid_namespaces(7)).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

_LATER: Final = 1.0
"""Seconds after which nobody can be about to wait for a child that ended: who started it is told at once."""


def is_first_process() -> bool:
    return os.getpid() == 1


@asynccontextmanager
async def reaped() -> AsyncIterator[None]:
    """Orphans are waited for inside, if this is the first process of its PID namespace."""
    if not is_first_process():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, _look)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGCHLD)


def _look() -> None:
    if ended := find_ended(os.getpid()):
        asyncio.get_running_loop().call_later(_LATER, _wait_for, ended)


def _wait_for(ended: frozenset[int]) -> None:
    """Those that are still there."""
    for pid in ended & find_ended(os.getpid()):
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def find_ended(parent: int) -> frozenset[int]:
    """Children of `parent` for which nobody has waited yet (proc_pid_stat(5))."""
    found = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with suppress(OSError):
                # The name before it may hold spaces and parentheses.
                state, its_parent = Path(entry.path, "stat").read_text().rpartition(")")[2].split()[:2]
                if state == "Z" and int(its_parent) == parent:
                    found.add(int(entry.name))
    return frozenset(found)
