"""The agent's own HTTP server: what clients of all kinds get of it, and what strangers can't do to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from pilotfish.runtime.http.message import Answer
from pilotfish.runtime.http.small import Asked, SmallServer, text

pytestmark = pytest.mark.timeout(30)


class Subject:
    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.stuck = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def handle(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        match asked.path:
            case "/stuck":
                self.stuck.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    self.cancelled.set()
            case "/fault":
                raise RuntimeError("a bug")
            case "/none":
                return Answer(304, b"")
        return text(f"{asked.method} {asked.target} {asked.body.decode()}\n", x_seen="yes")


@pytest.fixture
async def served() -> AsyncIterator[tuple[Subject, int]]:
    subject, bound = Subject(), socket.create_server(("127.0.0.1", 0))
    server = SmallServer(subject.handle)
    await server.start(bound)
    try:
        yield subject, bound.getsockname()[1]
    finally:
        await server.close()


async def said(port: int, *pieces: bytes) -> bytes:
    """All that it says to these bytes, up to the end that it makes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    writer.write_eof()
    found = await reader.read()
    writer.close()
    return found


async def test_a_client_keeps_its_connection(served: tuple[Subject, int]) -> None:
    subject, port = served
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        for _ in range(3):
            async with client.post("/a?b=c", data=b"body") as response:
                assert (response.status, await response.text()) == (200, "POST /a?b=c body\n")
                assert response.headers["x-seen"] == "yes"
        async with client.get("/none") as response:
            assert response.status == 304
    assert len({id(asked.socket) for asked in subject.asked}) == 1
    assert {asked.address for asked in subject.asked} == {"127.0.0.1"}


async def test_a_body_in_chunks_and_requests_one_after_the_other_without_waiting(served: tuple[Subject, int]) -> None:
    _, port = served
    chunked = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
    found = await said(port, chunked + b"GET /d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert found.count(b"HTTP/1.1 200 OK") == 2
    assert b"POST /c abcde\n" in found
    assert found.endswith(b"GET /d \n")


async def test_a_request_in_pieces_and_http_1_0(served: tuple[Subject, int]) -> None:
    _, port = served
    found = await said(port, b"G", b"ET /a HT", b"TP/1.0\r\nx: y\r\n", b"\r\n")
    assert b"connection: close" in found.lower()
    assert found.endswith(b"GET /a \n")


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\ncontent-length: many\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\ncontent-length: 99999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nx: " + b"y" * 40000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_told_so_and_ended(served: tuple[Subject, int], request_: bytes) -> None:
    subject, port = served
    assert (await said(port, request_)).startswith(b"HTTP/1.1 400 Bad Request")
    assert subject.asked == []


async def test_who_is_gone_is_worked_for_no_more(served: tuple[Subject, int]) -> None:
    subject, port = served
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
    await subject.stuck.wait()
    writer.close()
    await asyncio.wait_for(subject.cancelled.wait(), 5)


async def test_a_fault_costs_one_answer(served: tuple[Subject, int], caplog: pytest.LogCaptureFixture) -> None:
    _, port = served
    found = await said(port, b"GET /fault HTTP/1.1\r\nHost: x\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 500 ")
    assert found.endswith(b"GET /a \n")
    assert "RuntimeError: a bug" in caplog.text


async def test_more_connections_than_it_serves_are_ended_at_once(served: tuple[Subject, int]) -> None:
    _, port = served
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(200)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    for _, each in (*held, (reader, writer)):
        each.close()
