"""A process that hangs: stopped, so that it answers nobody and lets go of nothing, until SIGCONT."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.waiting import wait_until


def freeze(pid: int) -> None:
    """Returns when none of its threads runs any more: one may go on for a while after the signal."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(f"process {pid} has stopped", lambda: all(state == "T" for state in _states(pid)))


def _states(pid: int) -> list[str]:
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # it has just ended
            found.append((thread / "stat").read_text().rpartition(")")[2].split()[0])
    return found
