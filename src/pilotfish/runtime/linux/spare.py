"""A launcher that has started already, for the program that everything waits for: it runs 15 ms sooner.

One Python process that waits, 4 MB; a program that is launched by it is a child of this process, like any other.
"""

from __future__ import annotations

import marshal
import socket
import subprocess
from collections.abc import Sequence
from typing import Any

from pilotfish.runtime.linux.launch import BOOTSTRAP_SPARE
from pilotfish.runtime.linux.process import launcher


class SpareLauncher:
    """Made without a process; `prepare` when there is time for it."""

    def __init__(self) -> None:
        self._waiting: tuple[subprocess.Popen[bytes], socket.socket] | None = None

    def prepare(self) -> None:
        """Starts one, unless one waits."""
        if self._waiting is not None:
            return
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            other.set_inheritable(True)
            child = subprocess.Popen(
                launcher(BOOTSTRAP_SPARE, other.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(other.fileno(),),
                start_new_session=True,
                env={},
                cwd="/",
            )
        self._waiting = child, own

    def give(self, order: dict[str, Any], descriptors: Sequence[int]) -> subprocess.Popen[bytes] | None:
        """What it becomes, once, with these descriptors (see `launch.wait`). None if none waits, or it is gone."""
        if self._waiting is None:
            return None
        (child, channel), self._waiting = self._waiting, None
        with channel:
            try:
                socket.send_fds(channel, [marshal.dumps(order)], list(descriptors))
            except OSError:
                child.kill()
                child.wait()
                return None
        return child

    def close(self) -> None:
        if self._waiting is not None:
            (child, channel), self._waiting = self._waiting, None
            channel.close()
            child.kill()
            child.wait()
