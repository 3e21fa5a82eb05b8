"""One call on a connection of its own: a request, and the messages that answer it.

A request has 65,530 bytes at the most, which is what may be sent before the server allows more (RFC 9113, 6.9.2).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from socket import socket
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from pilotfish.model.addresses import host_port
from pilotfish.runtime.rpc.framing import FramingError, Messages, frame

_STREAM = 1
_PIECE = 65536
_FRAME = 16384
"""Bytes: as long as nobody allowed more (RFC 9113, 4.2)."""


class RpcError(OSError):
    """The call failed; `code` is gRPC's status, such as 7 for PERMISSION_DENIED."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Server:
    address: tuple[str, int]
    tls: ssl.SSLContext
    name: str
    """What its certificate must say."""


async def ask(
    made: socket, server: Server, path: str, message: bytes, metadata: Mapping[str, str] = {}, *, timeout: float
) -> bytes:
    """A unary call over the socket, which is closed at its end. Raises OSError."""
    try:
        async with asyncio.timeout(timeout):
            async for answer in follow(made, server, path, message, metadata):
                return answer
    except TimeoutError:
        raise OSError(f"{_shown(server)} does not answer within {timeout:g} s") from None
    raise OSError(f"{_shown(server)} answered nothing")


async def follow(
    made: socket, server: Server, path: str, message: bytes, metadata: Mapping[str, str] = {}
) -> AsyncIterator[bytes]:
    """The messages of a streaming answer, until the server ends it. Raises OSError."""
    made.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(made, server.address)
    except BaseException:
        made.close()
        raise
    # From here on the socket is the transport's: closed below it, its number would be another's, and still be read.
    reader, writer = await asyncio.open_connection(sock=made)
    try:
        await writer.start_tls(server.tls, server_hostname=server.name)
    except BaseException:
        writer.transport.abort()
        raise
    try:
        call = _Call(server, path, message, metadata)
        writer.write(call.to_send())
        while not call.ended:
            for answer in call.receive(await reader.read(_PIECE)):
                yield answer
            writer.write(call.to_send())
    except (h2.exceptions.ProtocolError, FramingError) as error:
        raise OSError(f"{_shown(server)} does not speak gRPC: {error}") from error
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


class _Call:
    """Without a socket: bytes in, messages out."""

    def __init__(self, server: Server, path: str, message: bytes, metadata: Mapping[str, str]) -> None:
        self.ended = False
        self._server = server
        self._messages = Messages()
        self._connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._connection.initiate_connection()
        pseudo = {":method": "POST", ":scheme": "https", ":authority": server.name, ":path": path}
        own = {"te": "trailers", "content-type": "application/grpc", "user-agent": "pilotfish"}
        self._connection.send_headers(_STREAM, [*pseudo.items(), *own.items(), *metadata.items()])
        body = frame(message)
        for at in range(0, len(body), _FRAME):
            self._connection.send_data(_STREAM, body[at : at + _FRAME], end_stream=at + _FRAME >= len(body))

    def to_send(self) -> bytes:
        return self._connection.data_to_send()

    def receive(self, data: bytes) -> Iterator[bytes]:
        """`data` empty: the server closed the connection. Raises RpcError for a status that is not 0."""
        if not data:
            raise OSError(f"{_shown(self._server)} closed the connection")
        try:
            events = self._connection.receive_data(data)
        except h2.exceptions.ProtocolError:
            if self._connection.state_machine.state is not h2.connection.ConnectionState.CLOSED:
                raise
            # To h2 a GOAWAY is the end, also of what comes with it, such as a PING.
            raise OSError(f"{_shown(self._server)} ended the connection") from None
        for event in events:
            match event:
                case h2.events.DataReceived():
                    self._connection.acknowledge_received_data(event.flow_controlled_length or 0, _STREAM)
                    yield from self._messages.receive(event.data or b"")
                case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                    self._check(event.headers or ())
                case h2.events.StreamEnded():
                    self.ended = True
                case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                    raise OSError(f"{_shown(self._server)} broke the call off")

    def _check(self, headers: object) -> None:
        found = {_text(name): _text(value) for name, value in headers}  # type: ignore[attr-defined]
        if found.get(":status", "200") != "200":
            raise OSError(f"{_shown(self._server)} answered with HTTP status {found[':status']}")
        code = found.get("grpc-status", "0")
        if code != "0":
            raise RpcError(int(code) if code.isdecimal() else 2, unquote(found.get("grpc-message", "")))


def _shown(server: Server) -> str:
    return host_port(*server.address)


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode(errors="replace")
