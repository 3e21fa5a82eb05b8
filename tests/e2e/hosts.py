"""A machine's network in a namespace of its own, with another namespace around it that plays the rest of the world: the
machine's own has no part in what these tests do.

    mesh ─▶ host: 198.51.100.2 ═ 198.51.100.1: outside, which has 203.0.113.9 and the machine's resolvers' addresses
            host: 192.0.2.130 ═ 192.0.2.131: lan
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from pilotfish.runtime.agent import machine_resolvers
from pilotfish.runtime.linux.netns import NetNs
from tests.e2e.harness import run

SITE, SITE_V6 = "203.0.113.9", "2001:db8:9::9"
HOST, HOST_V6 = "198.51.100.2", "2001:db8:1::2"
LAN, LAN_ON_HOST = "192.0.2.131", "192.0.2.130"
NAME = "site.example.com"
_SERVER = """
import http.server, socket, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = self.client_address[0].removeprefix("::ffff:").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 64
def answer(echo):
    while True:
        data, client = echo.recvfrom(4096)
        echo.sendto(data.upper(), client)
for address in sys.argv[1:]:
    # An answer is to come from the address that was asked.
    echo = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    echo.bind((address, 7))
    threading.Thread(target=answer, args=(echo,), daemon=True).start()
server = Server(("::", 80), Handler)
print("ready", flush=True)
server.serve_forever()
"""
"""HTTP that says who called, and an echo over UDP."""
_RESOLVER = """
import ipaddress, socket, sys
from dnslib import A, DNSRecord, QTYPE, RR
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    data, client = asked.recvfrom(4096)
    query = DNSRecord.parse(data)
    reply = query.reply()
    if str(query.q.qname) == "site.example.com." and query.q.qtype == QTYPE.A:
        reply.add_answer(RR(query.q.qname, QTYPE.A, rdata=A("203.0.113.9")))
    asked.sendto(reply.pack(), client)
"""


@dataclass(frozen=True)
class World:
    host: NetNs
    outside: NetNs
    lan: NetNs
    resolves: bool
    """The machine has a resolver, and the outside plays it."""

    def on_host(self, *command: str, check: bool = True) -> str:
        return run("nsenter", f"--net={self.host.path}", *command, check=check).stdout

    @property
    def state(self) -> tuple[str, ...]:
        """All of the host that a way out changes."""
        settings = self.on_host(
            "sh", "-c", "cd /proc/sys/net && grep -H . ipv[46]/conf/*/forwarding ipv6/conf/*/accept_ra"
        )
        kept = [line for line in settings.splitlines() if "/pf-" not in line]
        routes = [self.on_host("ip", family, "route") for family in ("-4", "-6")]
        return (*kept, *routes, self.on_host("nft", "list", "ruleset"))

    def start(self, netns: NetNs, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ("nsenter", f"--net={netns.path}", *command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )


@contextmanager
def world() -> Iterator[World]:
    names = [f"test-{name}-{os.getpid()}" for name in ("host", "outside", "lan")]
    with ExitStack() as stack:
        host, outside, lan = (_create(stack, name) for name in names)
        resolver = next((each for each in machine_resolvers() if ":" not in each), "")
        _join(host, "up0", (f"{HOST}/24", f"{HOST_V6}/64"), outside, ("198.51.100.1/24", "2001:db8:1::1/64"))
        _join(host, "lan0", (f"{LAN_ON_HOST}/25",), lan, (f"{LAN}/25",))
        here = (SITE, *((resolver,) if resolver and not resolver.startswith("127.") else ()))
        for address in here:
            _ip(outside, f"address add {address}/32 dev lo")
        _ip(outside, f"address add {SITE_V6}/128 dev lo nodad")
        _ip(host, "route add default via 198.51.100.1", "-6 route add default via 2001:db8:1::1")
        _ip(lan, f"route add default via {LAN_ON_HOST}")
        made = World(host, outside, lan, bool(resolver))
        for netns, code, arguments in (
            (outside, _SERVER, (SITE, SITE_V6)),
            (lan, _SERVER, ()),
            *(((host if resolver.startswith("127.") else outside, _RESOLVER, (resolver,)),) if resolver else ()),
        ):
            _serve(stack, made, netns, code, *arguments)
        yield made


def _create(stack: ExitStack, name: str) -> NetNs:
    netns = NetNs.create(name)
    stack.callback(netns.delete)
    return netns


def _serve(stack: ExitStack, made: World, netns: NetNs, code: str, *arguments: str) -> None:
    process = made.start(netns, sys.executable, "-c", code, *arguments)
    stack.enter_context(process)
    stack.callback(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def _join(host: NetNs, link: str, ours: tuple[str, ...], other: NetNs, theirs: tuple[str, ...]) -> None:
    _ip(host, f"link add {link} type veth peer name eth0 netns {other.name}")
    for netns, name, addresses in ((host, link, ours), (other, "eth0", theirs)):
        for address in addresses:
            _ip(netns, f"address add {address} dev {name}{' nodad' if ':' in address else ''}")
        _ip(netns, f"link set {name} up")


def _ip(netns: NetNs, *commands: str) -> None:
    for command in commands:
        run("nsenter", f"--net={netns.path}", "ip", *command.split())
