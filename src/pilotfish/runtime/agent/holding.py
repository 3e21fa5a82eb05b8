"""Keeps a pod's captured ports open while its Envoy is away.

An Envoy that is killed takes its listening sockets along: whoever connects before the next one listens is refused, and
what waits to be accepted is reset. Beside each of Envoy's sockets stands one of the agent's (`linux.reuseport`), which
gets connections only while Envoy has none. They wait there, unanswered, and are handed to the next Envoy as they are:
to it they look as if they had come a moment ago, and the kernel knows as ever where they were meant to go.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Protocol

from pilotfish.runtime.agent.sockets import family_of, has_ipv6, open_socket, owned_by
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux import netlink
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.reuseport import SOCK_DIAG, allow_migration, another_listens, stand_in

_log = logging.getLogger(__name__)
_LOOK, _LONGEST_LOOK = 0.002, 0.05
"""Seconds between two looks for a new Envoy, while somebody waits for it: it tells nobody when it begins to listen."""


class Holding(Protocol):
    """Who keeps an Envoy's ports open while it is away."""

    def hold(self, ports: Iterable[int]) -> None: ...

    def release(self, ports: Iterable[int]) -> None: ...

    def close(self) -> None: ...


class HeldPorts:
    """Of one pod."""

    def __init__(
        self, netns: NetNs | None, owner: int | None, sockets: int, transparent: bool, by_source: bool = False
    ) -> None:
        """`owner`: Envoy's uid, as sockets of one port have one owner; `sockets`: how many it has for each, one a
        worker; `by_source`: the same worker gets all connections from one address while they are held."""
        self._netns = netns
        self._owner = owner
        self._sockets = sockets
        self._transparent = transparent
        self._by_source = by_source
        self._addresses = ("0.0.0.0", "::") if has_ipv6(netns) else ("0.0.0.0",)
        self._held: dict[tuple[str, int], _Held] = {}

    def hold(self, ports: Iterable[int]) -> None:
        """To be called when Envoy listens on them. A kernel that can't do it leaves things as they are without us."""
        for port in ports:
            for address in self._addresses:
                self._hold(address, port)

    def release(self, ports: Iterable[int]) -> None:
        """Who waits is refused, unless Envoy listens."""
        for port in ports:
            for address in self._addresses:
                self._release(address, port)

    def close(self) -> None:
        self.release({port for _, port in self._held})

    @cached_property
    def _migrates(self) -> bool:
        return allow_migration(self._netns)

    def _release(self, address: str, port: int) -> None:
        if held := self._held.pop((address, port), None):
            held.close()

    def _hold(self, address: str, port: int) -> None:
        self._release(address, port)
        try:
            if self._migrates:
                self._held[address, port] = _Held(
                    self._open(address, port), self._netns, lambda: self._hold(address, port)
                )
        except (OSError, MachineError) as error:
            _log.warning("%s:%d is not held while Envoy is away: %s", address, port, error)

    def _open(self, address: str, port: int) -> socket.socket:
        with owned_by(self._owner):
            made = open_socket(self._netns, family_of(address))
        try:
            stand_in(made, address, port, self._sockets, self._transparent, self._by_source)
        except OSError:
            made.close()
            raise
        return made


class _Held:
    """One socket. When somebody waits at it, and another listens on its port, `again` is called."""

    def __init__(self, made: socket.socket, netns: NetNs | None, again: Callable[[], None]) -> None:
        self._socket = made
        self._netns = netns
        self._again = again
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(made, self._somebody_waits)

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        if self._task:
            self._task.cancel()
        self._socket.close()

    def _somebody_waits(self) -> None:
        self._loop.remove_reader(self._socket)
        self._task = self._loop.create_task(self._hand_over())

    async def _hand_over(self) -> None:
        with netlink.opened(self._netns or NetNs.current(), SOCK_DIAG) as diag:
            pause = _LOOK
            while not another_listens(diag, self._socket):
                await asyncio.sleep(pause)
                pause = min(pause * 1.2, _LONGEST_LOOK)
        self._task = None
        self._again()
