"""The pod's DNS server: 15053 on its loopback, over UDP and TCP.

Every bound here is one pod's: what a client does to it, no other pod feels.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, cast

from pilotfish.agent.names import Forward, Reply, resolve
from pilotfish.model.names import NameTable
from pilotfish.model.wellknown import DNS_PROXY_PORT
from pilotfish.runtime.agent.forward import Forwarder
from pilotfish.runtime.agent.sockets import listen, owned_by
from pilotfish.runtime.linux.netns import NetNs

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

    def __init__(self, table: Callable[[], NameTable], forwarder: Forwarder) -> None:
        self.queries = self.forwarded = self.failures = 0
        self._table = table
        self._forwarder = forwarder
        self._conversations: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closers: list[Callable[[], None]] = []

    @property
    def connections(self) -> int:
        """Over TCP, now."""
        return len(self._conversations)

    async def start(self, netns: NetNs | None, port: int = DNS_PROXY_PORT, owner: int | None = None) -> None:
        """AgentError if the port is taken. A loopback without IPv6 is served over IPv4 alone.

        `owner`: the sidecar's uid. Conntrack only knows an answer, and turns its addresses back, in the zone of its
        question, which the capture rules give to answers of that user's sockets (`capture.raw`).
        """
        loop = asyncio.get_running_loop()
        for host in _HOSTS:
            try:
                with owned_by(owner):
                    datagrams = listen(netns, host, port, socket.SOCK_DGRAM)
            except OSError:
                if host == "::1":
                    continue
                raise
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=datagrams)
            self._closers.append(transport.close)
            server = await asyncio.start_server(self._serve_stream, sock=listen(netns, host, port))
            self._closers.append(server.close)

    async def close(self) -> None:
        for close in self._closers:
            close()
        under_way = (*self._tasks, *self._conversations)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    def receive_datagram(self, packet: bytes, send: Callable[[bytes], None]) -> None:
        """Names of the mesh are answered at once, without a task."""
        match self._resolve(packet, over_udp=True):
            case Reply(answer):
                send(answer)
            case Forward() as forward if len(self._tasks) < _MOST_FORWARDED:
                self._keep(self._forward_datagram(packet, forward, send))
            case Forward(failure):
                self.failures += 1
                send(failure)

    def _resolve(self, packet: bytes, over_udp: bool) -> Reply | Forward | None:
        self.queries += 1
        return resolve(packet, self._table(), over_udp)

    async def _forward_datagram(self, packet: bytes, forward: Forward, send: Callable[[bytes], None]) -> None:
        send(await self._forward(packet, forward, over_udp=True))

    async def _forward(self, packet: bytes, forward: Forward, over_udp: bool) -> bytes:
        self.forwarded += 1
        answer = await self._forwarder.ask(packet, over_udp)
        if answer is None:
            self.failures += 1
        return answer or forward.failure

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The server made this task; `close` has to know it, to end it.
        task = asyncio.current_task()
        try:
            if task is not None and len(self._conversations) < _MOST_CONNECTIONS:
                self._conversations.add(task)
                task.add_done_callback(self._conversations.discard)
                writer.transport.set_write_buffer_limits(high=0)
                with suppress(OSError, asyncio.IncompleteReadError):
                    await self._converse(reader, writer)
        finally:
            # `close` alone would keep what a client does not take for as long as it stays.
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
            writer.close()

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
                return await self._forward(packet, forward, over_udp=False)
        return None

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        transport = self._transport
        if transport is not None:
            self._server.receive_datagram(data, lambda answer: transport.sendto(answer, addr))
