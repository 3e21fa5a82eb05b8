"""Probes of a real app over HTTP, TCP and gRPC; and over /app-health, which is the same."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from aiohttp import web

from pilotfish.agent.probes import AppProbe
from pilotfish.config.kubernetes import GRPCAction, HTTPGetAction, HTTPHeader, TCPSocketAction
from pilotfish.config.values import IntOrString
from pilotfish.runtime.agent.probing import Prober, ProbeResult
from pilotfish.runtime.closing import stop_serving

pytestmark = pytest.mark.timeout(30)

PROBER = Prober(None, ("127.0.0.1",))


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


class App:
    def __init__(self) -> None:
        self.seen: web.BaseRequest | None = None
        self.stuck = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.seen = request
        if request.path == "/stuck":
            await self.stuck.wait()
        if request.path == "/moved":
            return web.Response(status=302, headers={"location": "/500"})
        if request.path == "/away":
            return web.Response(status=302, headers={"location": "http://192.0.2.1/"})
        if request.path == "/circle":
            return web.Response(status=302, headers={"location": "/circle"})
        code = request.path.strip("/")
        return web.Response(status=int(code) if code.isdecimal() else 200)


@pytest.fixture
async def app(unused_port: int) -> AsyncIterator[App]:
    app = App()
    server = web.Server(app.handle)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", unused_port)
    try:
        yield app
    finally:
        app.stuck.set()
        await stop_serving(listener)
        server.pre_shutdown()
        await server.shutdown(0.1)


def http(port: int, path: str = "/", **more: Any) -> AppProbe:
    return AppProbe(http_get=HTTPGetAction(port=IntOrString(port), path=path, **more))


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("/", ProbeResult(True, "HTTP status 200")),
        ("/404?a=b", ProbeResult(False, "HTTP status 404")),
        ("/399", ProbeResult(True, "HTTP status 399")),
        # On the same host a redirect is followed; another host's health is none of ours.
        ("/moved", ProbeResult(False, "HTTP status 500")),
        ("/away", ProbeResult(True, "HTTP status 302")),
        ("/circle", ProbeResult(True, "HTTP status 302")),
        ("/stuck", ProbeResult(False, "no answer within 1 s")),
    ],
)
async def test_http(app: App, unused_port: int, path: str, result: ProbeResult) -> None:
    assert await PROBER.probe(http(unused_port, path), {}) == result


async def test_http_comes_from_where_capture_lets_it_pass_and_with_its_headers(app: App, unused_port: int) -> None:
    headers = (HTTPHeader(name="Host", value="shop.example.com"), HTTPHeader(name="X-Own", value="1"))
    asked = {"User-Agent": "kube-probe/1.30", "Accept": "text/x", "Cookie": "secret"}
    assert (await PROBER.probe(http(unused_port, http_headers=headers), asked)).ok
    assert app.seen is not None
    assert app.seen.remote == "127.0.0.6"
    seen = {name: app.seen.headers.get(name) for name in ("host", "x-own", "user-agent", "accept", "cookie")}
    assert list(seen.values()) == ["shop.example.com", "1", "kube-probe/1.30", "text/x", None]


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "HTTP status 204"),
        # However much follows, and however slowly.
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc", "HTTP status 200"),
        (b"HTTP/1.0 200 OK\r\n\r\n", "HTTP status 200"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "this is no HTTP answer"),
    ],
)
async def test_servers_of_all_kinds(unused_port: int, answer: bytes, result: str) -> None:
    asked: list[bytes] = []
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        if not answer.startswith(b"SSH"):
            with suppress(OSError):
                await reader.read()  # until the prober has enough
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", unused_port):
        found = await PROBER.probe(http(unused_port, "/a b%20c?d=\u00e9"), {})
        await ended.wait()
    assert found.message == result
    assert asked[0].startswith(b"GET /a%20b%20c?d=%C3%A9 HTTP/1.1\r\n")
    assert f"host: 127.0.0.1:{unused_port}\r\n".encode() in asked[0]


async def test_refused(unused_port: int) -> None:
    tcp = AppProbe(tcp_socket=TCPSocketAction(port=IntOrString(unused_port)))
    for probe in (http(unused_port), tcp, AppProbe(grpc=GRPCAction(port=unused_port))):
        result = await PROBER.probe(probe, {})
        assert not result.ok
        assert "refused" in result.message
    assert not (await PROBER.probe(AppProbe(), {})).ok


async def test_tcp(app: App, unused_port: int) -> None:
    probe = AppProbe(tcp_socket=TCPSocketAction(port=IntOrString(unused_port)))
    assert await PROBER.probe(probe, {}) == ProbeResult(True, f"port {unused_port} is open")


@pytest.mark.parametrize(
    ("service", "ok", "message"),
    [
        ("", True, "SERVING"),
        ("shop", False, "NOT_SERVING"),
        ("s" * 300, True, "SERVING"),
        ("unknown", False, "the server answered with an error, not with a health status"),
    ],
)
async def test_grpc(unused_port: int, service: str, ok: bool, message: str) -> None:
    async def check(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        name = request[3:] if len(request) > 130 else request[2:]
        if name == b"unknown":
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        assert dict(context.invocation_metadata())["user-agent"].startswith("kube-probe/")
        return b"\x08\x02" if name == b"shop" else b"\x08\x01"

    server = grpc.aio.server()
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    server.add_insecure_port(f"127.0.0.1:{unused_port}")
    await server.start()
    try:
        result = await PROBER.probe(AppProbe(grpc=GRPCAction(port=unused_port, service=service)), {})
        assert result == ProbeResult(ok, message)
    finally:
        await server.stop(None)


async def test_grpc_of_a_server_that_speaks_something_else(app: App, unused_port: int) -> None:
    result = await PROBER.probe(AppProbe(grpc=GRPCAction(port=unused_port)), {})
    assert not result.ok
