"""A server for a few small requests, in a tenth of the memory that aiohttp takes: h11 reads and writes, and no more is
loaded.

An agent has two of these, and each pod of a cluster an agent. Every connection, head, body and answer is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import h11

from pilotfish.runtime.http.message import Answer
from pilotfish.runtime.streams import StreamServer

_log = logging.getLogger(__name__)
_HEAD: Final = 16384
"""Bytes."""
_BODY: Final = 1024 * 1024
_PIECE: Final = 16384
_IDLE: Final = 75.0
"""Seconds that a connection may wait for its next request; who keeps one longer is not surprised."""
_SLOW: Final = 10.0
"""Seconds for a request that has begun, and for its answer to be taken."""
_MOST: Final = 200
"""Connections; further ones are closed at once."""


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    target: str
    fields: Mapping[str, str]
    """By their names in lower case."""
    body: bytes
    socket: socket.socket
    """Of who asks, to look at."""
    address: str
    """"" over a Unix socket."""

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]


Handler = Callable[[Asked], Awaitable[Answer]]


def text(body: str, status: int = 200, **fields: str) -> Answer:
    """`fields` by their names with _ for -."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return Answer(status, body.encode(), {"content-type": "text/plain; charset=utf-8", **named})


class SmallServer:
    """`start` once, `close` once. A handler is cancelled when who asked is gone."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._server = StreamServer(self._serve, _MOST)

    async def start(self, bound: socket.socket) -> None:
        """On a socket that listens."""
        await self._server.start(bound)

    async def close(self) -> None:
        """Whoever is connected is cut off."""
        await self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError):
            await _Conversation(reader, writer, self._handle).run()


class _Conversation:
    """One connection's requests and answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler) -> None:
        self._reader = reader
        self._writer = writer
        self._handle = handle
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD)

    async def run(self) -> None:
        while True:
            try:
                asked = await self._request()
            except (h11.RemoteProtocolError, _TooLargeError) as error:
                if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                    await self._say(text(f"{error}\n", status=400, connection="close"))
                return
            answer = await self._answer(asked) if asked is not None else None
            if asked is None or answer is None:
                return
            await self._say(answer, with_body=asked.method != "HEAD")
            if self._http.our_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _request(self) -> Asked | None:
        """None if there is no further one."""
        if not self._http.trailing_data[0]:
            async with asyncio.timeout(_IDLE):
                self._http.receive_data(await self._reader.read(_PIECE))
        async with asyncio.timeout(_SLOW):
            head = await self._next()
            if not isinstance(head, h11.Request):
                return None
            body = bytearray()
            while isinstance(event := await self._next(), h11.Data):
                body += event.data
                if len(body) > _BODY:
                    raise _TooLargeError(f"a body may have {_BODY} bytes")
        peer = self._writer.get_extra_info("peername")
        return Asked(
            head.method.decode(),
            head.target.decode("latin-1"),
            {name.decode(): value.decode("latin-1") for name, value in head.headers},
            bytes(body),
            self._writer.get_extra_info("socket"),
            str(peer[0]) if isinstance(peer, tuple) else "",
        )

    async def _next(self) -> object:
        """h11's next event."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                self._writer.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            self._http.receive_data(await self._reader.read(_PIECE))
        return event

    async def _answer(self, asked: Asked) -> Answer | None:
        """None if who asked is gone. What it sends meanwhile, up to a piece, waits for its turn."""
        loop = asyncio.get_running_loop()
        working = loop.create_task(self._ask(asked))
        more = loop.create_task(self._reader.read(_PIECE))
        try:
            await asyncio.wait((working, more), return_when=asyncio.FIRST_COMPLETED)
            if more.done() and not more.result() and not working.done():
                return None
            return await working
        finally:
            for task in (working, more):
                task.cancel()
            await asyncio.gather(working, more, return_exceptions=True)
            if not more.cancelled() and more.exception() is None:
                self._http.receive_data(more.result())

    async def _ask(self, asked: Asked) -> Answer:
        try:
            return await self._handle(asked)
        except Exception:  # a bug, of which one request must not cost others theirs
            _log.exception("%s %s", asked.method, asked.target)
            return text("a fault in pilotfish; its log says more\n", status=500)

    async def _say(self, answer: Answer, with_body: bool = True) -> None:
        has_body = answer.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
        length = {"content-length": str(len(answer.body))} if has_body else {}
        head = h11.Response(
            status_code=answer.status,
            headers=list({**answer.fields, **length}.items()),
            reason=HTTPStatus(answer.status).phrase.encode(),
        )
        body = (h11.Data(data=answer.body),) if has_body and with_body else ()
        events = (head, *body, h11.EndOfMessage())
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        async with asyncio.timeout(_SLOW):
            await self._writer.drain()


class _TooLargeError(Exception):
    """`str` says what may come."""
