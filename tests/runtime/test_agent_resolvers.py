"""The pod's DNS asked by the resolvers that apps really have: glibc, musl, c-ares, Go.

Each is a small program in `resolvers/` that takes questions `KIND:NAME` and prints a line for each: the question, the
answers or `!ERROR`, the milliseconds that it took. Go's is skipped where there is no Go; musl's needs musl-gcc.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from dnslib import RCODE, RR, DNSRecord

from pilotfish.model.names import NameTable, Port
from pilotfish.node.launch import render_resolv_conf
from pilotfish.runtime.agent.dns import NameServer
from pilotfish.runtime.agent.forward import Forwarder
from pilotfish.runtime.closing import stop_serving
from pilotfish.runtime.linux.command import run
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.process import PIPE, STDOUT, BindMount, ProcessSpec, start

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.timeout(60),
]

HERE = Path(__file__).parent / "resolvers"
STORE = "store.vm.svc.cluster.local"
FORTY = tuple(f"203.0.113.{n}" for n in range(1, 41))
HUNDREDS = tuple(f"203.0.{n // 250}.{1 + n % 250}" for n in range(900))
TABLE = NameTable(
    "1",
    {
        "calculator.vm.svc.cluster.local": ("10.96.0.1", "fd70::1"),
        "v4.vm.svc.cluster.local": ("10.96.0.2",),
        STORE: ("10.244.0.2", "10.244.0.3"),
        f"store-0.{STORE}": ("10.244.0.2",),
        f"store-1.{STORE}": ("10.244.0.3",),
        "nobody.vm.svc.cluster.local": (),
        "forty.vm.svc.cluster.local": FORTY,
        "hundreds.vm.svc.cluster.local": HUNDREDS,
        "*.example.org": ("240.240.0.2",),
    },
    {STORE: (Port("_http._tcp", 8000),), "forty.vm.svc.cluster.local": (Port("_http._tcp", 80),)},
    frozenset((STORE, "forty.vm.svc.cluster.local")),
    {
        "alias.vm.svc.cluster.local": "other.shop.svc.cluster.local",
        "other.shop.svc.cluster.local": "calculator.vm.svc.cluster.local",
        "outside.vm.svc.cluster.local": "db.example.net",
        "gone.vm.svc.cluster.local": "gone.example.com",
        "nowhere.vm.svc.cluster.local": "missing.vm.svc.cluster.local",
        "round.vm.svc.cluster.local": "round.vm.svc.cluster.local",
    },
)


class Outside(asyncio.DatagramProtocol):
    """The machine's resolver: it knows one name alone, and by another."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(answer(data), addr)

    @staticmethod
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told = answer(await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big")))
        writer.write(len(told).to_bytes(2, "big") + told)
        writer.close()


def answer(query: bytes) -> bytes:
    told = DNSRecord.parse(query).reply()
    if told.q.qname == "db.example.net":
        told.add_answer(*RR.fromZone("db.example.net 5 CNAME db-1.example.net\ndb-1.example.net 5 A 198.51.100.7"))
    else:
        told.header.rcode = RCODE.NXDOMAIN
    return bytes(told.pack())


@pytest.fixture
async def netns() -> AsyncIterator[NetNs]:
    """A pod's namespace, with its DNS at 127.0.0.1:53."""
    namespace = NetNs.create(f"pftest-dns-{os.getpid()}-{uuid4().hex[:8]}")
    stream = await asyncio.start_server(Outside.serve, "127.0.0.1", 0)
    port = stream.sockets[0].getsockname()[1]
    outside, _ = await asyncio.get_running_loop().create_datagram_endpoint(Outside, local_addr=("127.0.0.1", port))
    server = NameServer(lambda: TABLE, Forwarder(("127.0.0.1",), port=port))
    try:
        await run(["ip", "link", "set", "lo", "up"], netns=namespace)
        await server.start(namespace, 53)
        yield namespace
    finally:
        await server.close()
        outside.close()
        await stop_serving(stream)
        for pid in namespace.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        namespace.delete()


@pytest.fixture(scope="session")
def musl(tmp_path_factory: pytest.TempPathFactory) -> str:
    if not shutil.which("musl-gcc") or not shutil.which("gcc"):
        pytest.skip("musl-gcc is missing: apt-get install musl-tools gcc")
    program = tmp_path_factory.mktemp("musl") / "musl"
    subprocess.run(["musl-gcc", "-static", "-O1", "-Wall", "-Werror", "-o", program, HERE / "musl.c"], check=True)
    return str(program)


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> str:
    if not (compiler := shutil.which("go")):
        pytest.skip("Go is missing")
    program = tmp_path_factory.mktemp("go") / "go"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    subprocess.run([compiler, "build", "-o", program, HERE / "resolver.go"], check=True, env=environment)
    return str(program)


async def ask(
    netns: NetNs, tmp_path: Path, program: tuple[str, ...], questions: tuple[str, ...], options: str = ""
) -> Mapping[str, tuple[list[str], int]]:
    """The answers and the milliseconds, by question."""
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text(render_resolv_conf("vm", "127.0.0.1"))
    process = await start(
        ProcessSpec(
            (*program, *questions),
            {"PATH": os.defpath, "RES_OPTIONS": options} if options else {"PATH": os.defpath},
            netns=netns,
            mounts=(BindMount(str(resolv_conf), "/etc/resolv.conf", read_only=True),),
            stdout=PIPE,
            stderr=STDOUT,
        )
    )
    assert process.stdout is not None
    said = (await process.stdout.read()).decode()
    assert await process.wait() == 0, said
    lines = [line.split("\t") for line in said.splitlines()]
    return {question: (answer.split(",") if answer else [], int(ms)) for question, answer, ms in lines}


ANSWERS: dict[str, list[str]] = {
    "A:calculator.vm.svc.cluster.local": ["10.96.0.1"],
    "AAAA:calculator.vm.svc.cluster.local": ["fd70::1"],
    "any:calculator.vm.svc.cluster.local.": ["10.96.0.1", "fd70::1"],
    "A:CALCULATOR.Vm.svc.cluster.local": ["10.96.0.1"],
    # Short names, completed by the client; what has one family alone does not wait for the other.
    "A:calculator": ["10.96.0.1"],
    "any:v4": ["10.96.0.2"],
    "any:v4.vm": ["10.96.0.2"],
    "any:store-1.store.vm": ["10.244.0.3"],
    "any:www.example.org": ["240.240.0.2"],
    "any:missing.vm.svc.cluster.local": ["!NXDOMAIN"],
    "any:missing": ["!NXDOMAIN"],
    "any:www.example.com": ["!NXDOMAIN"],
    "AAAA:v4.vm.svc.cluster.local": ["!NODATA"],
    "any:nobody": ["!NODATA"],
    "PTR:10.96.0.1": ["calculator.vm.svc.cluster.local"],
    "PTR:10.244.0.2": [f"store-0.{STORE}"],
    # Services of type ExternalName.
    "any:alias": ["10.96.0.1", "fd70::1"],
    "A:other.shop": ["10.96.0.1"],
    "A:outside": ["198.51.100.7"],
    "any:gone": ["!NXDOMAIN"],
    "any:nowhere": ["!NXDOMAIN"],
    "A:round": ["!NODATA"],
    "A:forty": list(FORTY),
    "A:hundreds": list(HUNDREDS),
}
SERVICES: dict[str, list[str]] = {
    f"SRV:_http._tcp.{STORE}": [f"store-0.{STORE}:8000", f"store-1.{STORE}:8000"],
    f"SRV:{STORE}": [f"store-0.{STORE}:8000", f"store-1.{STORE}:8000"],
    "SRV:_http._tcp.forty.vm.svc.cluster.local": [
        f"{a.replace('.', '-')}.forty.vm.svc.cluster.local:80" for a in FORTY
    ],
}


def check(found: Mapping[str, tuple[list[str], int]], expected: Mapping[str, list[str]]) -> None:
    assert {question: sorted(answers) for question, (answers, _) in found.items()} == {
        question: sorted(answers) for question, answers in expected.items()
    }
    assert max(ms for _, ms in found.values()) < 1000, found


@pytest.mark.parametrize("options", ["", "edns0", "use-vc", "single-request", "trust-ad"])
async def test_glibc(netns: NetNs, tmp_path: Path, options: str) -> None:
    """Of which Python's own resolver is made; `options` are those of resolv.conf(5)."""
    found = await ask(netns, tmp_path, (sys.executable, "-I", "-S", str(HERE / "glibc.py")), tuple(ANSWERS), options)
    check(found, ANSWERS)


async def test_musl(netns: NetNs, tmp_path: Path, musl: str) -> None:
    """It has one word for both kinds of "no", and room for 48 addresses. Before 1.2.4 it does not speak TCP."""
    found = await ask(netns, tmp_path, (musl,), tuple(ANSWERS))
    expected = {q: ["!NXDOMAIN"] if a == ["!NODATA"] else a for q, a in ANSWERS.items()}
    for many in ("A:forty", "A:hundreds"):
        assert 25 < len(found[many][0]) <= 48
        assert set(found[many][0]) <= set(expected[many])
        expected[many] = found[many][0]
    check(found, expected)


async def test_c_ares(netns: NetNs, tmp_path: Path) -> None:
    """Of Node.js, and of Envoy itself."""
    questions = (*ANSWERS, *SERVICES)
    found = await ask(netns, tmp_path, (sys.executable, str(HERE / "cares.py")), questions)
    check(found, {**ANSWERS, **SERVICES})


async def test_go(netns: NetNs, tmp_path: Path, go: str) -> None:
    """It has one word for both kinds of "no"."""
    found = await ask(netns, tmp_path, (go,), (*ANSWERS, *SERVICES))
    expected = {q: ["!NXDOMAIN"] if a == ["!NODATA"] else a for q, a in ANSWERS.items()}
    check(found, {**expected, **SERVICES})
