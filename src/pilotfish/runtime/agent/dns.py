"""A pod's DNS server, 15053 on its loopback, or the node's for all pods, over UDP and TCP.

Every bound here is one client address's: what one pod does to the node's server, no other pod feels.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast

from pilotfish.agent.dnswire import Kind
from pilotfish.agent.names import NO_NAMES, Forward, Own, Reply, resolve
from pilotfish.model.names import NameTable
from pilotfish.model.wellknown import DNS_PROXY_PORT
from pilotfish.runtime.agent.forward import Forwarder
from pilotfish.runtime.agent.sockets import listen, owned_by
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.streams import StreamServer

_HOSTS = ("127.0.0.1", "::1")
_MOST_FORWARDED = 200
"""Queries under way at the machine's resolvers; more are told to try again, so that a flood is not held in memory."""
_MOST_CONNECTIONS = 100
"""Further ones are closed at once (RFC 7766, 6.2.2)."""
_IDLE = 10.0
"""Seconds that a TCP connection may wait for its next query, or for its client to take an answer (RFC 7766 leaves it to
the server)."""


class NameServer:
    """Answers from the table that `table` returns at that moment."""

    def __init__(
        self, table: Callable[[], NameTable], forwarder: Forwarder, own: Own = NO_NAMES, alone: bool = True
    ) -> None:
        """`own`: names that the machine gives. `alone`: as `names.resolve` has it."""
        self.queries = self.forwarded = self.failures = 0
        self._table = table
        self._forwarder = forwarder
        self._own = own
        self._alone = alone
        self._without: Kind | None = None
        self._conversations = _Allowance(_MOST_CONNECTIONS)
        self._forwarding = _Allowance(_MOST_FORWARDED)
        self._streams = StreamServer(self._serve_stream)
        self._closers: list[Callable[[], None]] = []

    @property
    def connections(self) -> int:
        """Over TCP, now."""
        return sum(1 for _ in self._conversations)

    async def start(
        self,
        netns: NetNs | None,
        port: int = DNS_PROXY_PORT,
        owner: int | None = None,
        hosts: tuple[str, ...] = _HOSTS,
        without: Kind | None = None,
    ) -> None:
        """On the loopback, or on `hosts`. AgentError if the port is taken. Without IPv6, over IPv4 alone.

        `without`: as `names.resolve` has it. `owner`: the sidecar's uid. Conntrack only knows an answer, and turns its
        addresses back, in the zone of its question, which the capture rules give to answers of that user's sockets
        (`capture.raw`).
        """
        loop = asyncio.get_running_loop()
        self._without = without
        for host in hosts:
            try:
                with owned_by(owner):
                    datagrams = listen(netns, host, port, socket.SOCK_DGRAM)
            except OSError:
                if host == "::1":
                    continue
                raise
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=datagrams)
            self._closers.append(transport.close)
            await self._streams.start(listen(netns, host, port))

    async def close(self) -> None:
        for close in self._closers:
            close()
        for task in self._forwarding:
            task.cancel()
        await asyncio.gather(*self._forwarding, self._streams.close(), return_exceptions=True)

    def receive_datagram(self, packet: bytes, client: str, send: Callable[[bytes], None]) -> None:
        """Names of the mesh are answered at once, without a task."""
        match self._resolve(packet, over_udp=True):
            case Reply(answer):
                send(answer)
            case Forward() as forward if self._forwarding.has_room(client):
                task = asyncio.get_running_loop().create_task(self._forward_datagram(forward, send))
                self._forwarding.add(client, task)
            case Forward() as forward:
                self.failures += 1
                send(forward.failure)

    def _resolve(self, packet: bytes, over_udp: bool) -> Reply | Forward | None:
        self.queries += 1
        return resolve(packet, self._table(), over_udp, self._own, self._alone, self._without)

    async def _forward_datagram(self, forward: Forward, send: Callable[[bytes], None]) -> None:
        send(await self._forward(forward, over_udp=True))

    async def _forward(self, forward: Forward, over_udp: bool) -> bytes:
        self.forwarded += 1
        answer = await self._forwarder.ask(forward.packet, over_udp)
        if answer is None:
            self.failures += 1
            return forward.failure
        return forward.complete(answer)

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        client = str((writer.get_extra_info("peername") or ("",))[0])
        if task is not None and self._conversations.has_room(client):
            self._conversations.add(client, task)
            writer.transport.set_write_buffer_limits(high=0)
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._converse(reader, writer)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(_IDLE):
                length = int.from_bytes(await reader.readexactly(2), "big")
                packet = await reader.readexactly(length)
            answer = await self._answer_stream(packet)
            if answer is None:
                return
            writer.write(len(answer).to_bytes(2, "big") + answer)
            async with asyncio.timeout(_IDLE):
                await writer.drain()

    async def _answer_stream(self, packet: bytes) -> bytes | None:
        """None for what is no query."""
        match self._resolve(packet, over_udp=False):
            case Reply(answer):
                return answer
            case Forward() as forward:
                return await self._forward(forward, over_udp=False)
        return None


class _Allowance:
    """What is under way, so much of it for each client."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: dict[str, set[asyncio.Task[None]]] = {}

    def __iter__(self) -> Iterator[asyncio.Task[None]]:
        return (task for tasks in tuple(self._tasks.values()) for task in tuple(tasks))

    def has_room(self, client: str) -> bool:
        return len(self._tasks.get(client, ())) < self._most

    def add(self, client: str, task: asyncio.Task[None]) -> None:
        """Until it ends."""
        self._tasks.setdefault(client, set()).add(task)
        task.add_done_callback(lambda task: self._remove(client, task))

    def _remove(self, client: str, task: asyncio.Task[None]) -> None:
        tasks = self._tasks[client]
        tasks.discard(task)
        if not tasks:
            del self._tasks[client]


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        transport = self._transport
        if transport is not None:
            self._server.receive_datagram(data, str(addr[0]), lambda answer: transport.sendto(answer, addr))
