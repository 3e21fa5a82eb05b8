"""The socket at which the plugin asks, one request a connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from pilotfish.cni.request import LARGEST, Answer, Code, Request, fail
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.unix import bind
from pilotfish.runtime.streams import StreamServer

_log = logging.getLogger(__name__)
_READ: Final = 10.0
"""Seconds for a request, which is written at once."""
_ANSWER: Final = 80.0
"""Seconds for an answer: the plugin gives up after 90, and a kubelet after some minutes."""
_UNKNOWN: Final = "0.3.0"


class PluginServer:
    """`start` once, `close` once. `handle` may raise MachineError, which becomes the answer."""

    def __init__(self, handle: Callable[[Request], Awaitable[Answer]]) -> None:
        self._handle = handle
        self._server = StreamServer(self._serve, limit=2 * LARGEST)

    async def start(self, path: Path) -> None:
        """For root alone. A socket that a predecessor left is taken over. MachineError if that can't be."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            await self._server.start(bind(path))
        except OSError as error:
            raise MachineError(
                f"the plugin can't be heard at {path}: {error.strerror or error}", "mount the host's directory there"
            ) from error

    async def close(self) -> None:
        """The socket's name stays: it is the successor's already, if there is one."""
        await self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(bytes(await self._answer(reader)))
            async with asyncio.timeout(_READ):
                await writer.drain()
        except (OSError, TimeoutError) as error:
            _log.warning("the plugin does not take its answer: %s", error)

    async def _answer(self, reader: asyncio.StreamReader) -> Answer:
        try:
            async with asyncio.timeout(_READ):
                request = Request.parse(await _read_all(reader))
        except (ValueError, TimeoutError) as error:
            return fail(_UNKNOWN, Code.DECODING_FAILURE, "the plugin's request can't be read", str(error))
        try:
            async with asyncio.timeout(_ANSWER):
                return await self._handle(request)
        except MachineError as error:
            _log.error("%s %s/%s: %s", request.command, request.namespace, request.pod, error)
            return fail(request.version, Code.INTERNAL, f"pilotfish-cni can't capture the pod: {error}")
        except TimeoutError:
            what = f"pilotfish-cni did not capture the pod within {_ANSWER:g} s"
            return fail(request.version, Code.TRY_AGAIN, what)
        except Exception as error:  # a bug, and the runtime is to learn of it, not of a connection that closed
            _log.exception("%s %s/%s", request.command, request.namespace, request.pod)
            return fail(
                request.version, Code.INTERNAL, f"a fault in pilotfish-cni, of which its log says more: {error!r}"
            )


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    found = bytearray()
    while chunk := await reader.read(65536):
        found += chunk
        if len(found) > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
    return bytes(found)
