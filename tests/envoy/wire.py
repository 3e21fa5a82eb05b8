"""A server that tells what reaches it: over HTTP/1.1, HTTP/2, TLS, tunnels and the PROXY protocol.

To a request it answers in JSON: its own name, the port that the connection came from, the protocol, and, over TLS, the
server name that was asked for, who the client says it is, and which of the mesh's protocols it offered.
`/after/SECONDS` is answered only then, `/status/STATUS` with that, and so is `/hold/STATUS` once it is let go: requests
are under way together however slow the machine is. What a `Wire` asks for is of one host at a time. Two names mean
more: `bad` answers everything with 503, `deaf` no ping.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.envoy.conftest import LiveEnvoy
from tests.waiting import wait_until


@dataclass(frozen=True)
class Wire:
    """A server, asked past the mesh about what reached it for a host."""

    live: LiveEnvoy
    netns: str
    address: str
    port: int

    def held(self, host: str) -> int:
        """Requests that it holds back now."""
        return self._ask(host, "held")

    def let_go(self, host: str) -> int:
        """The same, and they are answered."""
        return self._ask(host, "release")

    def failed(self, host: str) -> int:
        """Requests that it answered 503."""
        return self._ask(host, "failed")

    def closed(self, host: str) -> int:
        """Connections of HTTP/1.1 that requests came over, and that ended."""
        return self._ask(host, "closed")

    def _ask(self, host: str, what: str) -> int:
        return int(self.live.request(self.netns, self.address, self.port, host, f"/{what}").rpartition("\n\n")[2])

    def at_once(self, host: str, count: int, ask: Callable[[], str], early: int, at_first: bool = False) -> list[str]:
        """The answers to so many equal requests for `/hold/STATUS` of the host, in the order in which they come: so
        many `early`, while the server holds back what reached it, and then the others. `at_first`: all reach it, and
        are let go; what it holds back is what comes after them."""
        with ThreadPoolExecutor(count) as pool:
            answers: list[str] = []
            calls = [pool.submit(lambda: answers.append(ask()))]

            def are_answered() -> bool:
                self.let_go(host)
                return all(call.done() for call in calls)

            try:
                # Envoy counts one whose connection is being made as one that waits.
                wait_until("one has come", lambda: self.held(host) == 1, within=4)
                calls += [pool.submit(lambda: answers.append(ask())) for _ in range(count - 1)]
                if at_first:
                    wait_until("all have come", lambda: self.held(host) == count, within=4)
                    self.let_go(host)
                wait_until(f"{early} are answered", lambda: len(answers) >= early, within=4)
            finally:
                wait_until("all are answered", are_answered)
            return answers


def start_wire(
    live: LiveEnvoy, address: str, port: int, name: str, certificates: Path | None = None, netns: str = ""
) -> Wire:
    """In the peer's namespace, or another."""
    command = ["ip", "netns", "exec", netns or live.peer, sys.executable, "-Sc", _SERVER, address, str(port), name]
    process = subprocess.Popen([*command, str(certificates or "")], stdout=subprocess.PIPE)
    live.processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return Wire(live, netns or live.peer, address, port)


_SERVER = """
import collections, json, socket, socketserver, ssl, sys, threading, time
address, port, name, certificates = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
context, changes = None, threading.Condition()
held, turn, failed, closed = (collections.Counter() for _ in range(4))  # by host
def hold(host):
    with changes:
        held[host] += 1
        changes.wait_for(lambda mine=turn[host]: turn[host] != mine, 10)
        held[host] -= 1
def release(host):
    with changes:
        turn[host] += 1
        changes.notify_all()
        return held[host]
asked = {"/held": held.__getitem__, "/release": release, "/failed": failed.__getitem__, "/closed": closed.__getitem__}
if certificates:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{certificates}/server.pem", f"{certificates}/server.key")
    context.load_verify_locations(f"{certificates}/ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["istio-http/1.1", "istio-h2", "istio"])
    context.sni_callback = lambda tls, asked, _: setattr(tls, "asked", asked)
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.host = None
        try:
            if context is not None:
                self.request = context.wrap_socket(self.request, server_side=True)
            self.told = {"name": name, "port": self.client_address[1]}
            if context is not None:
                subject = (self.request.getpeercert() or {}).get("subject", ())
                client = "".join(value for part in subject for key, value in part if key == "commonName")
                alpn = self.request.selected_alpn_protocol() or ""
                self.told |= {"asked": getattr(self.request, "asked", ""), "client": client, "alpn": alpn}
            self.file = self.request.makefile("rb")
            self.talk(self.file.peek(16)[:16])
        except OSError:
            pass
        with changes:
            closed[self.host] += 1
    def talk(self, first):
        if first.startswith(b"PRI * HTTP/2.0"):
            self.h2()
        elif first.startswith(b"PROXY "):
            self.introduced(b"saw " + self.file.readline())
        elif first.startswith(b"\\r\\n\\r\\n\\0\\r\\nQUIT"):
            self.introduced(b"saw version 2 of " + socket.inet_ntoa(self.file.read(28)[16:20]).encode())
        else:
            while self.http1(): pass
    def introduced(self, answer):
        while self.file.readline().strip(): pass
        self.request.sendall(answer)
    def http1(self):
        method, path, *_ = self.file.readline().decode().split() or ("", "")
        headers = {}
        while line := self.file.readline().strip():
            key, _, value = line.decode().partition(":")
            headers[key.lower()] = value.strip()
        if not method:
            return False
        if method == "CONNECT" or "chunked" in headers.get("transfer-encoding", ""):
            head = "" if method == "CONNECT" else "Transfer-Encoding: chunked\\r\\n"
            target = f"tunnel by {method} to {path if method == 'CONNECT' else headers['host']}"
            body = target if method == "CONNECT" else f"{len(target):x}\\r\\n{target}\\r\\n"
            self.request.sendall(f"HTTP/1.1 200 OK\\r\\n{head}\\r\\n{body}".encode())
            time.sleep(0.2)
            return False
        host, (_, what, *more) = headers.get("host"), f"{path}/".split("/")
        status = "503 Bad" if name == "bad" else "200 OK"
        if path in asked:
            body = str(asked[path](host))
        else:
            self.host, body = host, json.dumps(self.told | {"protocol": "1"})
            if what == "after":
                time.sleep(float(more[0]))
            if what == "hold":
                hold(host)
            if what in ("hold", "status"):
                status = f"{more[0]} Asked"
            with changes:
                failed[host] += status.startswith("503")
        self.request.sendall(f"HTTP/1.1 {status}\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n{body}".encode())
        return headers.get("connection") != "close"
    def h2(self):
        self.file.read(24)
        self.frame(4, 0, 0, b"")
        while head := self.file.read(9):
            size, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:])
            payload = self.file.read(size)
            if kind == 4 and not flags & 1:
                self.frame(4, 1, 0, b"")
            elif kind == 6 and not flags & 1:
                self.told["pings"] = self.told.get("pings", 0) + 1
                if name != "deaf":
                    self.frame(6, 1, 0, payload)
            elif kind in (0, 1) and flags & 1:  # the end of a request
                self.frame(1, 4, stream, b"\\x88")
                self.frame(0, 1, stream, json.dumps(self.told | {"protocol": "2"}).encode())
    def frame(self, kind, flags, stream, payload):
        head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
        self.request.sendall(head + payload)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128
server = Server((address, port), Handler)
print("ready", flush=True)
server.serve_forever()
"""
