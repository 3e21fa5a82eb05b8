"""The socket from which an Envoy has its secrets: only Envoy's user can open it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

from pilotfish.identity.sds import DELTA, STREAM, SdsStream, Secret, Secrets
from pilotfish.runtime.agent.spec import AgentError
from pilotfish.runtime.closing import stop_serving
from pilotfish.runtime.linux.unix import bind
from pilotfish.runtime.rpc.server import ServerConnection

_log = logging.getLogger(__name__)


class SecretServer:
    """`start` once, `close` once; `update` at any time."""

    def __init__(self) -> None:
        self._own: Secrets = {}
        self._lent: dict[str, Secret] = {}
        self.secrets: Secrets = {}
        self._calls: set[_Call] = set()
        self._connections: set[ServerConnection] = set()
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._methods = {
            STREAM: lambda send: _Call(SdsStream(delta=False), self, send),
            DELTA: lambda send: _Call(SdsStream(delta=True), self, send),
        }

    async def start(self, path: Path, user: int, group: int) -> None:
        """Serve `user` alone. AgentError if that can't be."""
        try:
            made = _bind(path, user, group)
        except OSError as error:
            raise AgentError(f"{path} can't be listened on: {error.strerror}", "use root") from error
        self._path = path
        loop = asyncio.get_running_loop()
        factory = lambda: ServerConnection(self._methods, self._connections)  # noqa: E731
        self._server = await loop.create_unix_server(factory, sock=made)

    def update(self, secrets: Secrets) -> None:
        """Whoever asked for one that is new has it at once."""
        self._own = secrets
        self._tell()

    def lend(self, name: str, secret: Secret) -> None:
        """One more, of somebody else's; it stays until it is taken back."""
        self._lent[name] = secret
        self._tell()

    def take_back(self, name: str) -> None:
        if self._lent.pop(name, None) is not None:
            self._tell()

    def _tell(self) -> None:
        self.secrets = {**self._lent, **self._own}
        for call in tuple(self._calls):
            call.send(call.stream.update(self.secrets))

    async def close(self) -> None:
        if self._server is None:
            return
        await stop_serving(self._server)
        for connection in tuple(self._connections):
            connection.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def opened(self, call: _Call) -> None:
        self._calls.add(call)

    def closed(self, call: _Call) -> None:
        self._calls.discard(call)


class _Call:
    """One stream of Envoy's; an `Answerer`."""

    def __init__(self, stream: SdsStream, server: SecretServer, send: Callable[[tuple[bytes, ...]], None]) -> None:
        self.stream = stream
        self.send = send
        self._server = server
        server.opened(self)

    def receive(self, message: bytes) -> tuple[bytes, ...]:
        answers = self.stream.receive(message, self._server.secrets)
        if self.stream.refusal:
            _log.warning("Envoy refuses a certificate: %s", self.stream.refusal)
        return answers

    def close(self) -> None:
        self._server.closed(self)


def _bind(path: Path, user: int, group: int) -> socket.socket:
    made = bind(path)
    try:
        made.setblocking(False)
        os.chown(path, user, group)
        made.listen(8)
    except BaseException:
        made.close()
        raise
    return made
