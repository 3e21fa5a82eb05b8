"""A pod's port, through the API server and the kubelet: over one WebSocket, whose messages begin with their channel.

    channel 0: bytes, both ways     channel 1: what went wrong, as text
    The first message of each has the port, and nothing else.

It is the oldest of the protocols that kubelets speak, and the only one with no second protocol (SPDY) inside. An end of
the one direction alone can't be said in it: whoever closes, closes both.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-connect-portforward-requests-of-pod
"""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from pilotfish.runtime.cluster.errors import Unreachable
from pilotfish.runtime.http.message import Answer, Receiver, Request

PROTOCOL: Final = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_MOST: Final = 512 * 2**20
_CLOSED: Final = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)


class PortForward:
    """A stream of bytes to a pod's port. `async with` closes it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, where: str) -> None:
        self._socket = socket
        self._where = where
        self._greeted: set[int] = set()

    async def __aenter__(self) -> PortForward:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def read(self) -> bytes:
        """What comes next; b"" at the end. Raises Unreachable where nobody listens, or the way there breaks."""
        while True:
            message = await self._socket.receive()
            if message.type in _CLOSED:
                return b""
            if message.type is aiohttp.WSMsgType.ERROR:
                raise Unreachable(f"the way to {self._where} broke: {message.data}", "try again")
            if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel not in self._greeted:
                self._greeted.add(channel)
                continue
            if channel == _ERROR and data:
                said = " ".join(data.decode(errors="replace").split())
                raise Unreachable(f"{self._where} is not reached: {said}", "see whether the container runs")
            if channel == _DATA and data:
                return bytes(data)

    async def write(self, data: bytes) -> None:
        """Raises Unreachable."""
        try:
            await self._socket.send_bytes(bytes((_DATA,)) + data)
        except (aiohttp.ClientError, OSError) as error:
            while await self.read():
                pass  # what was said of it before comes first
            raise Unreachable(f"the way to {self._where} broke: {error}", "try again") from error

    async def close(self) -> None:
        await self._socket.close()

    async def ask(self, request: Request, timeout: float, most: int = _MOST) -> Answer:
        """One request of HTTP, and its answer. Raises AnswerError, TimeoutError, Unreachable."""
        receiver = Receiver(most)
        async with asyncio.timeout(timeout):
            await self.write(bytes(request))
            # A kubelet tells a second late that the connection has ended.
            while not receiver.is_whole and (piece := await self.read()):
                receiver.receive(piece)
        return receiver.finish()
