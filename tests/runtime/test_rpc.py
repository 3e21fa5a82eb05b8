"""gRPC without its library, against gRPC's own client and server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from pilotfish.runtime.rpc.client import RpcError, Server, ask, follow
from pilotfish.runtime.rpc.server import ServerConnection
from tests.certificates import issue

ECHO = "/test.Echo/Say"
ROOT = issue("root", is_ca=True)
OWN = issue("server", ROOT, "server.test")
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TLS.set_alpn_protocols(["h2"])
TLS.load_verify_locations(cadata=ROOT.pem)


class Echo:
    """Says each message as often as its first byte tells."""

    def __init__(self, send: Callable[[tuple[bytes, ...]], None]) -> None:
        self.send = send

    def receive(self, message: bytes) -> tuple[bytes, ...]:
        if message == b"bad":
            raise ValueError("bad")
        return (message[1:],) * message[0]

    def close(self) -> None:
        pass


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[set[ServerConnection]]:
    peers: set[ServerConnection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: ServerConnection({ECHO: Echo}, peers), str(path))
    try:
        yield peers
    finally:
        server.close()
        for peer in tuple(peers):
            peer.close()


async def test_grpcs_client_is_answered_also_with_more_than_a_window_holds(tmp_path: Path) -> None:
    large = bytes(300_000)
    async with served(tmp_path / "s"), grpc.aio.insecure_channel(f"unix:{tmp_path}/s") as channel:
        calls = [channel.stream_stream(ECHO)() for _ in range(3)]
        for call in calls:
            await call.write(b"\x02" + large)
            await call.write(b"\x01small")
        for call in calls:
            assert [await call.read() for _ in range(3)] == [large, large, b"small"]
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
        bad = channel.stream_stream(ECHO)()
        await bad.write(b"bad")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await bad.read()
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await channel.unary_unary("/test.Echo/Other")(b"")
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_calls_are_open_side_by_side_as_many_as_a_machines_pods_take(tmp_path: Path) -> None:
    """Envoy has one for each secret, and each stays open."""
    async with served(tmp_path / "s"), grpc.aio.insecure_channel(f"unix:{tmp_path}/s") as channel:
        calls = [channel.stream_stream(ECHO)() for _ in range(500)]
        async with asyncio.timeout(10):
            await asyncio.gather(*(call.write(b"\x01here") for call in calls))
            assert [await call.read() for call in calls] == [b"here"] * len(calls)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x05\x01\x05\x00\x00\x00\x01abcde",
    ],
)
async def test_who_speaks_otherwise_is_left_and_nobody_else(tmp_path: Path, sent: bytes) -> None:
    async with served(tmp_path / "s") as peers:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(sent)
        writer.write_eof()
        while await asyncio.wait_for(reader.read(1000), 5):
            pass
        writer.close()
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/s") as channel:
            call = channel.stream_stream(ECHO)()
            await call.write(b"\x01x")
            assert await call.read() == b"x"
        assert len(peers) <= 1


@asynccontextmanager
async def grpc_server() -> AsyncIterator[Server]:
    async def unary(body: bytes, context: Any) -> bytes:
        metadata = dict(context.invocation_metadata())
        if body == b"no":
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you: 50% of it, ü")
        return bytes(body) * 2 + str(metadata.get("authorization", "")).encode()

    async def streamed(body: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(body)

    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Streamed": grpc.unary_stream_rpc_method_handler(streamed),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.S", handlers),))
    credentials = grpc.ssl_server_credentials([(OWN.key.encode(), OWN.pem.encode())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield Server(("127.0.0.1", port), TLS, "server.test")
    finally:
        await server.stop(None)


async def test_grpcs_server_is_asked() -> None:
    async with grpc_server() as server:
        said = await ask(socket.socket(), server, "/test.S/Unary", b"ab", {"authorization": "Bearer x"}, timeout=5)
        assert said == b"ababBearer x"
        assert [m async for m in follow(socket.socket(), server, "/test.S/Streamed", b"x" * 60_000)] == [
            b"x" * 60_000
        ] * 3
        with pytest.raises(RpcError, match="not you: 50% of it, ü") as error:
            await ask(socket.socket(), server, "/test.S/Unary", b"no", timeout=5)
        assert error.value.code == 7
        with pytest.raises(RpcError) as error:
            await ask(socket.socket(), server, "/test.S/Nothing", b"", timeout=5)
        assert error.value.code == 12


async def test_who_is_another_or_answers_nothing_is_an_oserror() -> None:
    async with grpc_server() as server:
        other = Server(server.address, server.tls, "other.test")
        with pytest.raises(OSError, match="Hostname mismatch"):
            await ask(socket.socket(), other, "/test.S/Unary", b"", timeout=5)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            mute = Server(silent.getsockname(), server.tls, "server.test")
            with pytest.raises(OSError, match=r"does not answer within 0\.2 s"):
                await ask(socket.socket(), mute, "/test.S/Unary", b"", timeout=0.2)
        closed = Server(mute.address, server.tls, "server.test")
        with pytest.raises(ConnectionRefusedError):
            await ask(socket.socket(), closed, "/test.S/Unary", b"", timeout=5)


class Watched(socket.socket):
    closed_in_use = False
    """Its number is another's from then on, and the loop would read it for whoever had it."""

    def close(self) -> None:
        if self.fileno() != -1:
            try:
                asyncio.get_running_loop().remove_reader(self.fileno())
            except RuntimeError:
                self.closed_in_use = True
        super().close()


async def test_a_call_that_is_given_up_closes_no_socket_that_is_still_read(tmp_path: Path) -> None:
    """As when a pod is deleted while it starts. At each turn of the loop, since it matters where TLS is then."""
    (tmp_path / "both").write_text(OWN.key + OWN.pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "both")

    def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async with await asyncio.start_server(silent, "127.0.0.1", 0, ssl=tls) as listening:
        server = Server(listening.sockets[0].getsockname(), TLS, "server.test")
        for turns in range(1, 30):
            made = Watched()
            call = asyncio.create_task(ask(made, server, "/test.S/Unary", b"", timeout=5))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            async with asyncio.timeout(5):
                while made.fileno() != -1:
                    await asyncio.sleep(0)
            assert not made.closed_in_use, turns
