"""DNS queries that are not the mesh's, asked of the machine's resolvers."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from pilotfish.agent.dnswire import can_not_answer, is_answer
from pilotfish.agent.resolvers import Resolvers, parse_resolv_conf
from pilotfish.runtime.agent.sockets import family_of, open_socket, owned_by

_PORT = 53
_LARGEST = 65535


def machine_resolvers(path: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """The machine's, as they are now; none if there is no such file."""
    try:
        return parse_resolv_conf(path.read_text())
    except OSError:
        return ()


class Forwarder:
    """Asks from the namespace that this process is in, not from a pod's: that one leads nowhere."""

    def __init__(self, resolvers: tuple[str, ...], owner: int | None = None, port: int = _PORT) -> None:
        self._resolvers = Resolvers(resolvers)
        self._owner = owner
        self._port = port

    async def ask(self, packet: bytes, over_udp: bool) -> bytes | None:
        """The first answer of a resolver that could answer, else of one that could not; None if none says anything.

        It takes as long as `Resolvers.plan` says.
        """
        loop = asyncio.get_running_loop()
        exchange = self._datagram if over_udp else self._stream
        failure: bytes | None = None
        for address, patience in self._resolvers.plan(loop.time()):
            try:
                async with asyncio.timeout(patience):
                    answer = await exchange(address, packet)
            except (OSError, asyncio.IncompleteReadError):
                self._resolvers.failed(address, loop.time())
                continue
            self._resolvers.answered(address)
            if not can_not_answer(answer):
                return answer
            failure = failure or answer
        return failure

    async def _datagram(self, address: str, packet: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        # A socket and so a source port for each query: an answer is guessed less easily (RFC 5452).
        with self._socket(address, socket.SOCK_DGRAM) as connection:
            await loop.sock_connect(connection, (address, self._port))
            await loop.sock_sendall(connection, packet)
            while True:
                answer = await loop.sock_recv(connection, _LARGEST)
                if is_answer(packet, answer):
                    return answer

    async def _stream(self, address: str, packet: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        with self._socket(address, socket.SOCK_STREAM) as connection:
            await loop.sock_connect(connection, (address, self._port))
            await loop.sock_sendall(connection, len(packet).to_bytes(2, "big") + packet)
            received = bytearray()
            while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
                chunk = await loop.sock_recv(connection, _LARGEST)
                if not chunk:
                    raise ConnectionResetError("the resolver closed the connection within its answer")
                received += chunk
            answer = bytes(received[2 : 2 + int.from_bytes(received[:2], "big")])
            if not is_answer(packet, answer):
                raise ConnectionResetError("the resolver answers something else")
            return answer

    def _socket(self, address: str, kind: int) -> socket.socket:
        with owned_by(self._owner):
            return open_socket(None, family_of(address), kind)
