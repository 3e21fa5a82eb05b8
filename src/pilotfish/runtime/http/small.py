"""A server for a few small requests: HTTP/1.1 and nothing more, in a tenth of the memory that aiohttp takes.

An agent has two of these, and each pod of a cluster an agent. Every connection, head, body and answer is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pilotfish.runtime.http.message import Answer, Head, parse_head, render_answer

_log = logging.getLogger(__name__)
_HEAD: Final = 16384
"""Bytes."""
_BODY: Final = 1024 * 1024
_IDLE: Final = 75.0
"""Seconds that a connection may wait for its next request; who keeps one longer is not surprised."""
_SLOW: Final = 10.0
"""Seconds for a request that has begun, and for its answer to be taken."""
_MOST: Final = 200
"""Connections; further ones are closed at once."""


@dataclass(frozen=True, slots=True)
class Asked:
    head: Head
    body: bytes
    socket: socket.socket
    """Of who asks, to look at."""
    address: str
    """"" over a Unix socket."""


Handler = Callable[[Asked], Awaitable[Answer]]


def text(body: str, status: int = 200, **fields: str) -> Answer:
    """`fields` by their names with _ for -."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return Answer(status, body.encode(), {"content-type": "text/plain; charset=utf-8", **named})


class SmallServer:
    """`start` once, `close` once. A handler is cancelled when who asked is gone."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, bound: socket.socket) -> None:
        """On a socket that listens."""
        start = asyncio.start_unix_server if bound.family == socket.AF_UNIX else asyncio.start_server
        self._server = await start(self._serve, sock=bound, limit=_HEAD)

    async def close(self) -> None:
        """Whoever is connected is cut off."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._connections) < _MOST:
                self._connections.add(task)
                with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                    await self._converse(_Reader(reader), writer)
        finally:
            self._connections.discard(task)
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _converse(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        persists = True
        while persists:
            try:
                head = parse_head(await reader.head())
                async with asyncio.timeout(_SLOW):
                    body = await reader.body(head.length)
            except (ValueError, asyncio.LimitOverrunError) as error:
                writer.write(render_answer(text(f"{error}\n", status=400), persists=False))
                await self._drain(writer)
                return
            answer = await self._answer(head, body, reader, writer)
            if answer is None:
                return
            persists = head.persists
            writer.write(render_answer(answer, persists))
            await self._drain(writer)

    async def _answer(self, head: Head, body: bytes, reader: _Reader, writer: asyncio.StreamWriter) -> Answer | None:
        """None if who asked is gone."""
        peer = writer.get_extra_info("peername")
        asked = Asked(head, body, writer.get_extra_info("socket"), str(peer[0]) if isinstance(peer, tuple) else "")
        loop = asyncio.get_running_loop()
        working = loop.create_task(self._ask(asked))
        more = loop.create_task(reader.has_more())
        try:
            await asyncio.wait((working, more), return_when=asyncio.FIRST_COMPLETED)
            if not working.done() and not more.result():
                return None
            return await working
        finally:
            for task in (working, more):
                task.cancel()
            await asyncio.gather(working, more, return_exceptions=True)

    async def _ask(self, asked: Asked) -> Answer:
        try:
            return await self._handle(asked)
        except Exception:  # a bug, of which one request must not cost others theirs
            _log.exception("%s %s", asked.head.method, asked.head.target)
            return text("a fault in pilotfish; its log says more\n", status=500)

    async def _drain(self, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_SLOW):
            await writer.drain()


class _Reader:
    """One byte of the next request may be read before the answer to this one: to see whether anybody is still there."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._first = b""

    async def head(self) -> bytes:
        async with asyncio.timeout(_IDLE):
            self._first = self._first or await self._reader.readexactly(1)
        async with asyncio.timeout(_SLOW):
            found, self._first = self._first + await self._reader.readuntil(b"\r\n\r\n"), b""
        return found

    async def body(self, length: int | None) -> bytes:
        """ValueError for one that is too long, or in chunks that are none."""
        if length is not None:
            if not 0 <= length <= _BODY:
                raise ValueError(f"a body may have {_BODY} bytes")
            return await self._reader.readexactly(length)
        found = bytearray()
        while size := int((await self._reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            if size < 0 or len(found) + size > _BODY:
                raise ValueError(f"a body may have {_BODY} bytes")
            found += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readuntil(b"\r\n")
        return bytes(found)

    async def has_more(self) -> bool:
        """Returns when another request comes (True), or the connection has ended."""
        self._first = await self._reader.read(1)
        return bool(self._first)
