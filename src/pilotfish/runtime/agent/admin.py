"""Envoy's admin port, asked from inside its namespace.

One request, one connection, read to its end: what is kept for each pod between two requests is nothing at all.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/operations/admin
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from pilotfish.runtime.agent.sockets import open_socket
from pilotfish.runtime.linux.netns import NetNs

_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class AdminResponse:
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Admin:
    """Where one Envoy's admin listens: 127.0.0.1:`port` of a namespace (None: this process's own)."""

    netns: NetNs | None
    port: int

    async def request(self, method: str, path: str, timeout: float = _TIMEOUT) -> AdminResponse:
        """Raises OSError (ConnectionRefusedError, TimeoutError, ...) if there is no Envoy that answers."""
        async with asyncio.timeout(timeout):
            return await self._request(method, path)

    async def _request(self, method: str, path: str) -> AdminResponse:
        connection = open_socket(self.netns, socket.AF_INET, socket.SOCK_STREAM)
        try:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection, ("127.0.0.1", self.port))
            head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            await loop.sock_sendall(connection, head.encode())
            received = bytearray()
            while chunk := await loop.sock_recv(connection, 65536):
                received += chunk
        finally:
            connection.close()
        return _parse(bytes(received))


def _parse(response: bytes) -> AdminResponse:
    """A whole HTTP/1.1 response, up to the connection's end."""
    head, separator, body = response.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    if not separator or len(words) < 2 or not words[1].isdigit():
        raise ConnectionResetError("Envoy's admin closed the connection within its answer")
    if b"\r\ntransfer-encoding: chunked" in head.lower():
        body = _unchunk(body)
    return AdminResponse(int(words[1]), body)


def _unchunk(body: bytes) -> bytes:
    """RFC 9112, 7.1; Envoy sends no chunk extensions."""
    parts: list[bytes] = []
    position = 0
    while True:
        end = body.find(b"\r\n", position)
        if end < 0:
            raise ConnectionResetError("Envoy's admin closed the connection within its answer")
        size = int(body[position:end], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + size])
        position = end + 2 + size + 2
