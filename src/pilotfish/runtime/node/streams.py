"""TCP at a port of the host: a connection goes on to one that takes it, each endpoint in its turn, or the first."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from contextlib import suppress

from pilotfish.node.publish import Endpoints
from pilotfish.runtime.agent.sockets import family_of, open_socket
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.streams import StreamServer

_PIECE = 65536


class StreamRelay:
    def __init__(
        self, listening: socket.socket, endpoints: Callable[[], Endpoints], netns: NetNs | None, in_turn: bool
    ) -> None:
        """`netns`: where the endpoints are called from; None is this process's own. `in_turn`: or the first that takes
        the connection."""
        self._socket = listening
        self._endpoints = endpoints
        self._netns = netns
        self._turn = itertools.count() if in_turn else itertools.repeat(0)
        self._server = StreamServer(self._relay)

    async def start(self) -> None:
        await self._server.start(self._socket)

    async def close(self) -> None:
        await self._server.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await self._connect()
        if upstream is None:
            return
        try:
            await asyncio.gather(_pump(reader, upstream[1]), _pump(upstream[0], writer))
        finally:
            upstream[1].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """To the next endpoint that takes the connection; None if none does."""
        endpoints = self._endpoints()
        first = next(self._turn) % max(1, len(endpoints))
        for endpoint in (*endpoints[first:], *endpoints[:first]):
            with suppress(OSError):
                return await asyncio.open_connection(sock=await self._open(endpoint))
        return None

    async def _open(self, endpoint: tuple[str, int]) -> socket.socket:
        made = open_socket(self._netns, family_of(endpoint[0]))
        try:
            await asyncio.get_running_loop().sock_connect(made, endpoint)
        except BaseException:
            made.close()
            raise
        return made


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the end of what comes; the other direction may go on."""
    try:
        while chunk := await reader.read(_PIECE):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()
