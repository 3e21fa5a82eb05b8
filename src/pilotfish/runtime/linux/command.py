"""Run one short command (`ip`, `iptables-restore`) and take what it says."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass

from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.packages import remedy
from pilotfish.runtime.linux.userns import enter


@dataclass(frozen=True, slots=True)
class Completed:
    returncode: int
    stdout: str
    stderr: str


async def run(argv: Sequence[str], text: str = "", netns: NetNs | None = None, as_owner: bool = False) -> Completed:
    """`argv` with `text` as its standard input, inside `netns`. MachineError if the program is missing.

    `as_owner`: as root of the user namespace that owns `netns`, where that is another than ours.

    Input and output are memory files and the end is a pidfd: no thread, no pipe to pump, and no deadlock. The child is
    forked while this thread is in the namespace, so entering costs no process of its own.
    """
    with ExitStack() as files:
        stdin, stdout, stderr = (files.enter_context(os.fdopen(os.memfd_create(name), "w+b")) for name in "ioe")
        stdin.write(text.encode())
        stdin.seek(0)
        owner = netns.owner() if netns and as_owner else None
        passed = (files.enter_context(owner.opened()),) if owner else ()
        argv = (*enter(*passed), *argv) if passed else argv
        try:
            with netns.entered() if netns else nullcontext():
                child = subprocess.Popen(
                    argv, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=passed, start_new_session=True
                )
        except FileNotFoundError:
            raise MachineError(f"the program {argv[0]} is missing", remedy(argv[0])) from None
        try:
            await exited(child.pid)
        except asyncio.CancelledError:
            child.kill()
            raise
        finally:
            returncode = child.wait()
        stdout.seek(0)
        stderr.seek(0)
        return Completed(returncode, stdout.read().decode(), stderr.read().decode())


async def ip(commands: tuple[str, ...], netns: NetNs | None = None, force: bool = False) -> None:
    """All `commands` in one `ip -batch`, inside `netns`. MachineError names the first that failed, unless `force`."""
    argv = ("ip", "-force", "-batch", "-") if force else ("ip", "-batch", "-")
    completed = await run(argv, "\n".join(commands), netns)
    if completed.returncode and not force:
        where = f" in network namespace {netns.name}" if netns else ""
        remedy = "use root" if "not permitted" in completed.stderr else "see `ip link` and `ip netns list`"
        raise MachineError(f"ip failed{where}: {' '.join(completed.stderr.split())}", remedy)


async def exited(pid: int) -> None:
    """Returns when process `pid`, a child not yet waited for, has ended."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    pidfd = os.pidfd_open(pid)
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
