"""Servers that are closed just as somebody comes: he is let go of, also where the loop ends at once."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry

from pilotfish.discovery.pace import Pace
from pilotfish.runtime.discovery.address import Address
from pilotfish.runtime.discovery.admissions import Admissions
from pilotfish.runtime.discovery.front import Front
from pilotfish.runtime.discovery.webhooks import Webhooks
from pilotfish.runtime.streams import StreamServer

Close = Callable[[], Awaitable[None]]
Open = Callable[[], Awaitable[tuple[Address, Close]]]
ANYWHERE = Address("127.0.0.1", 0)


async def streams() -> tuple[Address, Close]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server, bound = StreamServer(serve), socket.create_server(("127.0.0.1", 0))
    await server.start(bound)
    return Address("127.0.0.1", bound.getsockname()[1]), server.close


def no_context() -> ssl.SSLContext:
    raise ValueError("there is no certificate")


async def front() -> tuple[Address, Close]:
    made = Front(no_context, lambda host: Pace())
    address = made.listen(ANYWHERE)
    made.start()
    return address, made.close


async def webhooks() -> tuple[Address, Close]:
    made = Webhooks(no_context, Admissions(CollectorRegistry()), "istio")
    return await made.listen(ANYWHERE), made.close


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("serve", [streams, front, webhooks])
def test_whoever_comes_as_it_closes_is_let_go_of(serve: Open, turns: int) -> None:
    """`turns` of the loop after he came. What is not closed is told of as a warning, which fails the test."""

    async def run() -> socket.socket:
        address, close = await serve()
        client = socket.create_connection((address.host, address.port))
        for _ in range(turns):
            await asyncio.sleep(0)
        await close()
        return client

    with asyncio.run(run()) as client:
        gc.collect()
        client.settimeout(5)
        with suppress(ConnectionError):  # where he was never accepted
            assert client.recv(1) == b""
