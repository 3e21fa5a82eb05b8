"""A PID namespace: who is in it sees and signals nobody outside of it.

Its first process is `sleep`, which ignores that children end: the kernel then reaps every orphan (wait(2), NOTES). It
has no more to do than Kubernetes' `pause`, and is as small. It runs until it is killed, and all others with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux import syscalls
from pilotfish.runtime.linux.mounts import hide
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.process import Process
from pilotfish.runtime.thread import in_thread

REAPER = ("env", "--ignore-signal=CHLD")
"""Before a program: the kernel reaps its children. Of GNU coreutils 8.31 and later."""
_FIRST = (*REAPER, "sleep", "infinity")


class PidNs:
    """Made by `create`. `kill` it, wait for its `end`, then `close` it."""

    def __init__(self, first: Process) -> None:
        self.descriptor = os.open(f"/proc/{first.pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        """For `ProcessSpec.pidns`."""
        self._first = first

    @classmethod
    async def create(cls, netns: NetNs, hidden: Sequence[str] = ()) -> PidNs:
        """Its first process is in `netns`, by which what a dead mesh leaves is found. MachineError if it can't be.

        /proc/1/root leads those who may look there to no directory that is `hidden`.
        """
        making = asyncio.ensure_future(in_thread(lambda: _start_first(netns, hidden)))
        try:
            return cls(Process(await asyncio.shield(making)))
        except asyncio.CancelledError:
            made = cls(Process(await making))
            made.kill()
            made.close()
            raise

    @property
    def alive(self) -> bool:
        """Processes can still be started in it.

        The first one ends when all others have, and when we, their parent, have waited for them; but who ends has no
        program any more (proc_pid_exe(5)), and from then on the kernel refuses new ones.
        """
        return self._first.returncode is None and self._has_program()

    def _has_program(self) -> bool:
        try:
            Path(f"/proc/{self._first.pid}/exe").readlink()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """All that is in it ends, whatever it is about to do."""
        self._first.signal(signal.SIGKILL)

    async def ended(self) -> None:
        """Returns when nobody is left in it."""
        await self._first.wait()

    def close(self) -> None:
        os.close(self.descriptor)


def _start_first(netns: NetNs, hidden: Sequence[str]) -> subprocess.Popen[bytes]:
    """In a thread that ends after it: the namespaces of the thread, and of children that it would fork, are changed."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount(None, "/", None, syscalls.MS_SLAVE | syscalls.MS_REC)
        hide(hidden)
        with netns.entered():
            syscalls.unshare(syscalls.CLONE_NEWPID)
            return subprocess.Popen(
                _FIRST,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={"PATH": os.defpath},
                cwd="/",
            )
    except OSError as error:
        raise MachineError(f"a PID namespace can't be made: {error}", "use root") from error
