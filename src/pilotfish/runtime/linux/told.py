"""What the kernel tells of its own changes, as an event of the loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from pilotfish.runtime.linux import netlink
from pilotfish.runtime.linux.netns import NetNs


@contextmanager
def told(netns: NetNs, groups: Sequence[tuple[int, Sequence[int]]]) -> Iterator[asyncio.Event]:
    """An event that is set whenever something of `groups`, (protocol, numbers), changes in `netns`."""
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()
    with ExitStack() as stack:
        for protocol, numbers in groups:
            source = stack.enter_context(netlink.subscribe(netns, protocol, numbers))
            loop.add_reader(source, _drain, source, changed)
            stack.callback(loop.remove_reader, source.fileno())
        yield changed


def _drain(source: socket.socket, changed: asyncio.Event) -> None:
    changed.set()
    # An overflow (ENOBUFS) is a change, too; what has changed is read anyway.
    with suppress(BlockingIOError):
        while True:
            with suppress(InterruptedError):
                try:
                    source.recv(1 << 16)
                except BlockingIOError:
                    raise
                except OSError:
                    return
