"""What a mesh leaves on the machine, and how it goes: at `down`, and after somebody's `kill -9`."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from pilotfish.runtime.linux.command import ip
from pilotfish.runtime.linux.netns import NetNs, list_names
from pilotfish.runtime.net.host_tables import withdraw
from pilotfish.runtime.net.names import host_interface, node_name


@dataclass(frozen=True, slots=True)
class Leftovers:
    """All that is there of one mesh; false if nothing is."""

    processes: tuple[tuple[int, str], ...]
    """Process id and command of those inside the namespaces."""
    namespaces: tuple[NetNs, ...]
    interface: str
    """The host's link; "" if there is none."""

    def __bool__(self) -> bool:
        return bool(self.processes or self.namespaces or self.interface)

    def describe(self) -> tuple[str, ...]:
        """A line for each thing."""
        return (
            *(f"process {pid} ({command})" for pid, command in self.processes),
            *((f"link {self.interface}",) if self.interface else ()),
            *(f"network namespace {namespace.name}" for namespace in self.namespaces),
        )


def leftovers(mesh: str) -> Leftovers:
    """What is there of `mesh` now. Whether the mesh is dead is for the caller to know."""
    node = node_name(mesh)
    names = tuple(name for name in list_names(node) if name == node or name.startswith(f"{node}."))
    namespaces = tuple(NetNs.named(name) for name in names)
    interface = host_interface(mesh)
    return Leftovers(_processes(namespaces), namespaces, interface if interface in _links() else "")


def _links() -> frozenset[str]:
    """Of the namespace that this process is in."""
    return frozenset(name for _, name in socket.if_nameindex())


_PATIENCE = 5.0
"""Seconds for killed processes to be gone: one that waits for a device or a file system ends when that answers."""


async def sweep(mesh: str) -> tuple[str, ...]:
    """Kills and removes all that is there of `mesh`; says what that was."""
    found = leftovers(mesh)
    remaining = found.processes
    deadline = time.monotonic() + _PATIENCE
    # A process may have forked while the others were being killed.
    while remaining and time.monotonic() < deadline:
        await _kill(tuple(pid for pid, _ in remaining), deadline)
        remaining = _processes(found.namespaces)
    if found.interface:
        await ip((f"link delete dev {found.interface}",), force=True)
    for namespace in found.namespaces:
        namespace.delete()
    return (*found.describe(), *await withdraw(mesh))


def _processes(namespaces: tuple[NetNs, ...]) -> tuple[tuple[int, str], ...]:
    pids = (pid for namespace in namespaces if namespace.exists() for pid in namespace.pids())
    return tuple((pid, _command(pid)) for pid in pids if pid != os.getpid() and not _zombie(pid))


async def _kill(pids: tuple[int, ...], deadline: float) -> None:
    """SIGKILL to all, and waits until they have ended, or until `deadline`; they need not be our children."""
    with ExitStack() as stack:
        ends = []
        for pid in pids:
            with suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                stack.callback(os.close, pidfd)
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                ends.append(pidfd)
        await asyncio.to_thread(_wait, ends, deadline)


def _wait(pidfds: list[int], deadline: float) -> None:
    poll = select.poll()
    waiting = set(pidfds)
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    while waiting and (left := deadline - time.monotonic()) > 0:
        for pidfd, _ in poll.poll(left * 1000):
            poll.unregister(pidfd)
            waiting.discard(pidfd)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "ended"


def _zombie(pid: int) -> bool:
    """A process that has ended and was not waited for; nothing can be done about it, and it holds no namespace."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
