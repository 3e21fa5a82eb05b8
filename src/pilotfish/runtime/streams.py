"""A server of byte streams: one task for each connection, which is closed when that ends, however it ends.

What `asyncio.start_server` does with a coroutine is not enough: a task that is cancelled is told of as a fault, and of
one that is cancelled before its first step nobody closes the connection.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final
from weakref import WeakSet

from pilotfish.runtime.closing import stop_serving

_log = logging.getLogger(__name__)
_LIMIT: Final = 65536

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class StreamServer:
    """`start` once or, for several sockets, more often; `close` once."""

    def __init__(self, serve: Serve, most: int | None = None, limit: int = _LIMIT) -> None:
        """`most`: connections at a time; further ones are closed at once. `limit`: bytes of each that are read
        ahead."""
        self._serve = serve
        self._most = most
        self._limit = limit
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: WeakSet[asyncio.StreamWriter] = WeakSet()
        """Also of connections that have ended, and that the loop has not closed yet."""
        self._closed = False

    async def start(self, bound: socket.socket) -> None:
        """On a socket that is bound, or listens."""
        start: Any = asyncio.start_unix_server if bound.family == socket.AF_UNIX else asyncio.start_server
        self._servers.append(await start(self._accept, sock=bound, limit=self._limit))

    async def close(self) -> None:
        """Whoever is connected is cut off."""
        self._closed = True
        for server in self._servers:
            await stop_serving(server)
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if self._closed or (self._most is not None and len(self._connections) >= self._most):
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(partial(self._ended, writer))

    def _ended(self, writer: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        # What a client does not take would be kept for as long as it stays.
        if task.cancelled() or writer.transport.get_write_buffer_size():
            writer.transport.abort()
        writer.close()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a connection was ended by a fault", exc_info=error)
