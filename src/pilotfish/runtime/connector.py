"""Connections of aiohttp of which none outlives their session.

What is closed over TLS waits for the server to say goodbye, for half a minute where that is stuck. aiohttp forgets such
a connection, as when a request is given up, so that nobody ends it with the session.
"""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakSet

import aiohttp


class Connector(aiohttp.TCPConnector):
    """Whatever it opened is cut off when it is closed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._transports: WeakSet[asyncio.Transport] = WeakSet()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        connection = await super().connect(req, traces, timeout)
        if connection.transport is not None:
            self._transports.add(connection.transport)
        return connection

    async def close(self, *, abort_ssl: bool = True) -> None:
        for transport in tuple(self._transports):
            transport.abort()
        await super().close(abort_ssl=abort_ssl)
