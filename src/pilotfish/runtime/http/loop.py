"""Asking from the event loop, which goes on meanwhile."""

from __future__ import annotations

import asyncio
import socket

from pilotfish.runtime.http.message import Answer, Receiver, Request

_MOST = 64 * 1024 * 1024
"""An answer's most bytes, as one process asks for many."""


async def ask(
    stream: socket.socket, address: tuple[str, int], request: Request, timeout: float, most: int = _MOST
) -> Answer:
    """Connects `stream`, asks, and closes it. Raises OSError (ConnectionRefusedError, TimeoutError, AnswerError, ...)
    where no answer of at most `most` bytes comes within `timeout` seconds."""
    loop = asyncio.get_running_loop()
    receiver = Receiver(most)
    stream.setblocking(False)
    with stream:
        async with asyncio.timeout(timeout):
            await loop.sock_connect(stream, address)
            await loop.sock_sendall(stream, bytes(request))
            while chunk := await loop.sock_recv(stream, 65536):
                receiver.receive(chunk)
    return receiver.finish()
