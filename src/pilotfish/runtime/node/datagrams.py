"""UDP at a port of the host: what a client sends goes on to a ready pod, its answers come back.

Each client (address and port) has a pod, and a socket towards it, for as long as something passes.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from pilotfish.node.publish import Endpoints
from pilotfish.runtime.agent.sockets import family_of, open_socket
from pilotfish.runtime.linux.netns import NetNs

_Client = tuple[Any, ...]
"""Its address, as the kernel says it."""
_LARGEST: Final = 65536
_AT_ONCE: Final = 64
"""Datagrams that are read before others get their turn."""
_IDLE: Final = 300.0
"""Seconds after which a client without traffic is forgotten: as long as Envoy keeps a connection of QUIC."""
_MOST: Final = 1024
"""Clients; then the one that was silent the longest makes room."""


@dataclass(slots=True)
class _Flow:
    upstream: socket.socket
    used: float


class DatagramRelay:
    def __init__(
        self, bound: socket.socket, endpoints: Callable[[], Endpoints], netns: NetNs | None, in_turn: bool
    ) -> None:
        """`netns`: where the endpoints are called from; None is this process's own. `in_turn`: or the first."""
        self._endpoints = endpoints
        self._netns = netns
        self._turn = itertools.count() if in_turn else itertools.repeat(0)
        self._flows: dict[_Client, _Flow] = {}
        """By the client's address, the one that was silent the longest first."""
        self._loop = asyncio.get_running_loop()
        self._socket = bound
        self._socket.setblocking(False)

    async def start(self) -> None:
        self._loop.add_reader(self._socket, self._receive)

    async def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for client in tuple(self._flows):
            self._forget(client)

    def _receive(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, client = self._socket.recvfrom(_LARGEST)
            except BlockingIOError:
                return
            except OSError:
                continue
            flow = self._flows.pop(client, None) or self._open(client)
            if flow is not None:
                flow.used = self._loop.time()
                self._flows[client] = flow
                with suppress(OSError):  # as on any way: who sends it, sends it again
                    flow.upstream.send(data)

    def _open(self, client: _Client) -> _Flow | None:
        """To the next ready pod; None if there is none."""
        self._make_room()
        endpoints = self._endpoints()
        if not endpoints:
            return None
        host, port = endpoints[next(self._turn) % len(endpoints)]
        upstream = open_socket(self._netns, family_of(host), socket.SOCK_DGRAM)
        try:
            upstream.connect((host, port))
        except OSError:
            upstream.close()
            return None
        self._loop.add_reader(upstream, self._return, client, upstream)
        return _Flow(upstream, self._loop.time())

    def _return(self, client: _Client, upstream: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = upstream.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError:
                # Nobody is there any more: what comes next is for another pod.
                self._forget(client)
                return
            with suppress(OSError):
                self._socket.sendto(data, client)

    def _make_room(self) -> None:
        now = self._loop.time()
        while self._flows:
            client, flow = next(iter(self._flows.items()))
            if now - flow.used < _IDLE and len(self._flows) < _MOST:
                return
            self._forget(client)

    def _forget(self, client: _Client) -> None:
        flow = self._flows.pop(client, None)
        if flow is not None:
            self._loop.remove_reader(flow.upstream)
            flow.upstream.close()
