"""Captured DNS over real sockets: the mesh's names, the machine's resolvers, and a discovery that comes and goes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from dnslib import QTYPE, RCODE, RR, A, DNSQuestion, DNSRecord

from pilotfish.model import Proxy
from pilotfish.model.names import NameTable
from pilotfish.runtime.agent.dns import NameServer
from pilotfish.runtime.agent.forward import Forwarder, machine_resolvers
from pilotfish.runtime.agent.nametables import NameTables
from pilotfish.runtime.agent.sockets import listen
from pilotfish.runtime.closing import stop_serving

pytestmark = pytest.mark.timeout(30)

CALCULATOR = "calculator.vm.svc.cluster.local"
TABLE = NameTable(
    "1",
    {
        CALCULATOR: ("10.96.0.1", "fd70::1"),
        "many.vm.svc.cluster.local": tuple(f"10.0.{n // 256}.{n % 256}" for n in range(300)),
    },
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def name_server(
    table: Callable[[], NameTable] = lambda: TABLE, resolver_port: int | None = None
) -> AsyncIterator[tuple[NameServer, int]]:
    forwarder = Forwarder(("127.0.0.1",), port=resolver_port) if resolver_port else Forwarder(())
    server = NameServer(table, forwarder)
    port = free_port()
    await server.start(None, port)
    try:
        yield server, port
    finally:
        await server.close()


async def over_udp(port: int, query: DNSRecord, host: str = "127.0.0.1") -> DNSRecord:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.setblocking(False)
        connection.connect((host, port))
        await loop.sock_sendall(connection, query.pack())
        return DNSRecord.parse(await asyncio.wait_for(loop.sock_recv(connection, 65535), 5))


async def over_tcp(port: int, *queries: DNSRecord, client: str = "127.0.0.1") -> list[DNSRecord]:
    """All on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(client, 0))
    answers = []
    for query in queries:
        packet = query.pack()
        writer.write(len(packet).to_bytes(2, "big") + packet)
        length = int.from_bytes(await reader.readexactly(2), "big")
        answers.append(DNSRecord.parse(await reader.readexactly(length)))
    writer.close()
    await writer.wait_closed()
    return answers


def addresses(reply: DNSRecord) -> list[str]:
    return [str(record.rdata) for record in reply.rr]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_names_of_the_mesh_over_udp(host: str) -> None:
    async with name_server() as (_, port):
        reply = await over_udp(port, DNSRecord.question(CALCULATOR, "AAAA"), host)
        assert addresses(reply) == ["fd70::1"]
        reply = await over_udp(port, DNSRecord.question("gone.vm.svc.cluster.local"), host)
        assert reply.header.rcode == RCODE.NXDOMAIN


async def test_what_udp_truncates_comes_over_tcp() -> None:
    async with name_server() as (_, port):
        query = DNSRecord.question("many.vm.svc.cluster.local")
        assert (await over_udp(port, query)).header.tc == 1
        many, one = await over_tcp(port, query, DNSRecord.question(CALCULATOR))
        assert len(addresses(many)) == 300
        assert addresses(one) == ["10.96.0.1"]


async def test_without_a_resolver_the_failure_is_immediate() -> None:
    async with name_server() as (server, port):
        began = asyncio.get_running_loop().time()
        for reply in (
            await over_udp(port, DNSRecord.question("www.example.com")),
            *await over_tcp(port, DNSRecord.question("www.example.com")),
        ):
            assert reply.header.rcode == RCODE.SERVFAIL
        assert asyncio.get_running_loop().time() - began < 0.5
        assert (server.queries, server.forwarded, server.failures) == (2, 2, 2)


async def test_a_client_that_takes_no_answer_is_cut_off_and_keeps_no_other_waiting(monkeypatch: Any) -> None:
    monkeypatch.setattr("pilotfish.runtime.agent.dns._IDLE", 1.0)
    loop = asyncio.get_running_loop()
    query = DNSRecord.question("many.vm.svc.cluster.local").pack()

    async def ask_and_never_read(connection: socket.socket) -> None:
        while True:
            await loop.sock_sendall(connection, len(query).to_bytes(2, "big") + query)

    async with name_server() as (server, port):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setblocking(False)
            asking = asyncio.create_task(ask_and_never_read(connection))
            await until(lambda: server.queries > 10)
            assert addresses((await over_tcp(port, DNSRecord.question(CALCULATOR)))[0]) == ["10.96.0.1"]
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(asking, 5)
        await until(lambda: not server.connections)


async def test_no_more_connections_than_a_pod_may_have() -> None:
    query = DNSRecord.question(CALCULATOR)
    async with name_server() as (server, port):
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
        await until(lambda: server.connections == 100)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await over_tcp(port, query)
        assert addresses(await over_udp(port, query)) == ["10.96.0.1"], "UDP is another matter"
        assert addresses((await over_tcp(port, query, client="127.0.0.2"))[0]) == ["10.96.0.1"], (
            "and so is who else asks"
        )
        for _, writer in idle:
            writer.close()
        await until(lambda: not server.connections)
        assert addresses((await over_tcp(port, query))[0]) == ["10.96.0.1"]


class Resolver(asyncio.DatagramProtocol):
    """Answers all with one address; but first with forged answers: to another id, to another question."""

    def __init__(self, code: int = RCODE.NOERROR) -> None:
        self.code = code

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        query = DNSRecord.parse(data)
        answer = query.reply()
        answer.header.rcode = self.code
        if self.code == RCODE.NOERROR:
            answer.add_answer(RR(query.q.qname, QTYPE.A, rdata=A("192.0.2.1"), ttl=5))
        forged = DNSRecord.parse(answer.pack())
        forged.header.id ^= 1
        other = DNSRecord(answer.header, q=DNSQuestion("other.example.com"))
        other.add_answer(RR("other.example.com", QTYPE.A, rdata=A("192.0.2.66")))
        self.transport.sendto(forged.pack(), addr)
        self.transport.sendto(other.pack(), addr)
        self.transport.sendto(answer.pack(), addr)


@pytest.fixture
async def resolver_port() -> AsyncIterator[int]:
    port = free_port()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Resolver, local_addr=("127.0.0.1", port))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = DNSRecord.parse(await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big")))
        answer = query.reply()
        answer.add_answer(RR(query.q.qname, QTYPE.A, rdata=A("192.0.2.2"), ttl=5))
        packet = answer.pack()
        writer.write(len(packet).to_bytes(2, "big") + packet)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield port
    finally:
        transport.close()
        await stop_serving(server)


async def test_everything_else_is_asked_of_the_machine_s_resolver(resolver_port: int) -> None:
    async with name_server(resolver_port=resolver_port) as (_, port):
        query = DNSRecord.question("www.example.com")
        reply = await over_udp(port, query)
        assert (reply.header.id, addresses(reply)) == (query.header.id, ["192.0.2.1"])
        assert [addresses(reply) for reply in await over_tcp(port, query)] == [["192.0.2.2"]]


async def test_a_resolver_that_can_not_answer_is_not_the_last_word() -> None:
    """The next may know; what none knows is told as the first put it."""
    async with resolvers(RCODE.REFUSED, RCODE.NOERROR) as forwarder:
        query = DNSRecord.question("www.example.com")
        answer = await forwarder.ask(query.pack(), over_udp=True)
        assert answer is not None
        assert addresses(DNSRecord.parse(answer)) == ["192.0.2.1"]
    async with resolvers(RCODE.REFUSED, RCODE.SERVFAIL) as forwarder:
        answer = await forwarder.ask(query.pack(), over_udp=True)
        assert answer is not None
        assert DNSRecord.parse(answer).header.rcode == RCODE.REFUSED


@asynccontextmanager
async def resolvers(*codes: int) -> AsyncIterator[Forwarder]:
    """One at each of 127.0.0.1, 127.0.0.2, ... that always gives this code."""
    loop = asyncio.get_running_loop()
    port = free_port()
    hosts = [f"127.0.0.{n}" for n in range(1, len(codes) + 1)]
    made = [
        (await loop.create_datagram_endpoint(partial(Resolver, code), local_addr=(host, port)))[0]
        for host, code in zip(hosts, codes, strict=True)
    ]
    try:
        yield Forwarder(tuple(hosts), port=port)
    finally:
        for transport in made:
            transport.close()


async def test_a_silent_resolver_costs_one_query_its_patience() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        async with name_server(resolver_port=silent.getsockname()[1]) as (_, port):
            for least, most in ((1.9, 3), (0.1, 1)):
                began = loop.time()
                reply = await over_udp(port, DNSRecord.question("www.example.com"))
                assert reply.header.rcode == RCODE.SERVFAIL
                assert least < loop.time() - began < most


async def test_the_machine_s_resolvers(tmp_path: Any) -> None:
    path = tmp_path / "resolv.conf"
    assert machine_resolvers(path) == ()
    path.write_text("nameserver 192.0.2.53\n")
    assert machine_resolvers(path) == ("192.0.2.53",)


@pytest.fixture
async def names() -> AsyncIterator[NameTables]:
    tables = NameTables(owner=None)
    try:
        yield tables
    finally:
        await tables.close()


class Discovery:
    """`/api/names` of a discovery."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.known = {"sidecar~10.0.0.1~a.vm~vm.svc.cluster.local", "sidecar~10.0.0.2~b.vm~vm.svc.cluster.local"}
        self.version = "1"
        self.changed = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        assert request.path == "/api/names"
        proxy, version = request.query["proxyID"], request.query["version"]
        self.asked.append((proxy.split("~")[2], version))
        if proxy not in self.known:
            return web.Response(status=404)
        if version == self.version:
            self.changed.clear()
            await self.changed.wait()
        return web.Response(text=json.dumps({"version": self.version, "records": {"x.vm": [f"10.0.0.{self.version}"]}}))

    def change(self, version: str) -> None:
        self.version = version
        self.changed.set()


@asynccontextmanager
async def serving(discovery: Discovery, port: int) -> AsyncIterator[None]:
    server = web.Server(discovery.handle)
    listener = await asyncio.get_running_loop().create_server(server, sock=listen(None, "127.0.0.1", port))
    try:
        yield
    finally:
        await stop_serving(listener)
        server.pre_shutdown()
        await server.shutdown(0.1)


async def until(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not predicate():
            await asyncio.sleep(0.01)


async def test_one_poll_serves_all_agents_that_are_told_the_same(names: NameTables) -> None:
    discovery, port = Discovery(), free_port()
    proxies = [Proxy.of_pod(name, "vm", (ip,)) for name, ip in (("a", "10.0.0.1"), ("b", "10.0.0.2"))]
    async with serving(discovery, port):
        sources = [names.subscribe(f"127.0.0.1:{port}", proxy) for proxy in proxies]
        assert sources[0] is sources[1]
        await asyncio.wait_for(sources[0].loaded.wait(), 5)
        assert sources[0].table == NameTable("1", {"x.vm": ("10.0.0.1",)})
        await until(lambda: len(discovery.asked) == 2)
        assert discovery.asked == [("a.vm", ""), ("a.vm", "1")]
        discovery.change("2")
        await until(lambda: sources[0].table.version == "2")
        # The one who asked is gone; discovery may forget it.
        names.unsubscribe(f"127.0.0.1:{port}", proxies[0])
        discovery.known.discard(proxies[0].id)
        discovery.change("3")
        await until(lambda: sources[0].table.version == "3")


@pytest.mark.parametrize(
    "proxies",
    [
        [Proxy.of_pod("a", namespace, ("10.0.0.1",)) for namespace in ("vm", "shop")],
        # A Sidecar may select one of them.
        [Proxy.of_pod("a", "vm", ("10.0.0.1",), labels={"app": app}) for app in ("a", "b")],
    ],
)
async def test_who_may_be_told_otherwise_asks_for_itself_and_shares_what_is_the_same(
    names: NameTables, proxies: list[Proxy]
) -> None:
    discovery, port = Discovery(), free_port()
    discovery.known = {proxy.id for proxy in proxies}
    async with serving(discovery, port):
        sources = [names.subscribe(f"127.0.0.1:{port}", proxy) for proxy in proxies]
        for source in sources:
            await asyncio.wait_for(source.loaded.wait(), 5)
    assert sources[0] is not sources[1]
    assert sources[0].table is sources[1].table


async def test_the_last_table_stays_while_discovery_is_away(names: NameTables) -> None:
    discovery, port = Discovery(), free_port()
    source = names.subscribe(f"127.0.0.1:{port}", Proxy.of_pod("a", "vm", ("10.0.0.1",)))
    assert source.table.version == "", "discovery is not there yet"
    async with serving(discovery, port):
        await asyncio.wait_for(source.loaded.wait(), 5)
    assert source.table.version == "1"
    discovery.version = "2"
    async with serving(discovery, port):
        await until(lambda: source.table.version == "2")


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"version": "1", "records": []}', '{"version": "", "records": {}}'])
async def test_nonsense_is_not_a_table(names: NameTables, body: str) -> None:
    port, asked = free_port(), 0

    async def handle(_: web.BaseRequest) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(text=body)

    server = web.Server(handle)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port)
    source = names.subscribe(f"127.0.0.1:{port}", Proxy.of_pod("a", "vm", ("10.0.0.1",)))
    await until(lambda: asked == 2)
    assert not source.loaded.is_set()
    await stop_serving(listener)
    server.pre_shutdown()
    await server.shutdown(0.1)
