"""A server of byte streams: what its end leaves, and whom it tells of what."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import Any

import pytest

from pilotfish.runtime.streams import StreamServer

pytestmark = pytest.mark.timeout(30)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(100):
        writer.write(piece)
        await writer.drain()


@pytest.fixture
async def told() -> list[dict[str, Any]]:
    """What the loop is told of as faults."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    return found


async def _serve(most: int | None = None) -> tuple[StreamServer, int]:
    server, bound = StreamServer(_echo, most), socket.create_server(("127.0.0.1", 0))
    await server.start(bound)
    return server, bound.getsockname()[1]


async def test_who_is_connected_when_it_closes_is_cut_off_and_that_is_no_fault(told: list[dict[str, Any]]) -> None:
    server, port = await _serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello")
    assert await reader.read(5) == b"hello"
    await server.close()
    assert await reader.read() == b""
    writer.close()
    assert not told


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
async def test_a_connection_that_comes_as_the_loop_ends_is_closed() -> None:
    """Its task is cancelled before its first step."""
    server, port = await _serve()
    loop = asyncio.get_running_loop()

    def make_task(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **more)
        if work.__name__ == _echo.__name__:
            task.cancel()
        return task

    loop.set_task_factory(make_task)
    client = socket.create_connection(("127.0.0.1", port))
    client.setblocking(False)
    assert await loop.sock_recv(client, 1) == b""
    client.close()
    await server.close()
    gc.collect()


async def test_more_than_may_be_are_closed_at_once() -> None:
    server, port = await _serve(most=1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello")
    assert await reader.read(5) == b"hello"
    late, its_writer = await asyncio.open_connection("127.0.0.1", port)
    assert await late.read() == b""
    for each in (writer, its_writer):
        each.close()
    await server.close()
