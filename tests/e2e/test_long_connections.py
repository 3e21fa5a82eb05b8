"""Connections that last: what changes elsewhere must not cut them.

Envoy drains a listener whole when anything but its filter chains changes; where only these change, it counts the change
as `listener_in_place_updated`, too, and drains the connections of the chains that changed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.harness import PILOTFISH, MakeMesh, Mesh
from tests.waiting import wait_until

SERVER = """
import socketserver, threading
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        first = True
        while line := self.rfile.readline():
            if first and line.startswith(b"GET "):
                while self.rfile.readline().strip(): pass
                head = "HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket"
                self.wfile.write("\\r\\n".join((*head, "", "")).encode())
            else:
                self.wfile.write(line)
            first = False
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads = True, True
servers = [Server(("0.0.0.0", port), Echo) for port in (5000, 5002, 8000)]
for server in servers[1:]: threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
"""
CLIENT = """
import socket, sys
upgrade = b"GET / HTTP/1.1\\r\\nHost: web\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n"
SAID = b"hello, you\\n"  # whoever sniffs waits for more where he gets less than a few bytes
held = {name: socket.create_connection((name, port), 5) for name, port in (("raw", 5000), ("web", 80), ("any", 5002))}
held["web"].sendall(upgrade)
assert b"101" in held["web"].recv(4096)
print("up", flush=True)
for _ in sys.stdin:
    dead = []
    for name, each in held.items():
        try:
            each.sendall(SAID)
            alive = each.recv(100) == SAID
        except OSError:
            alive = False
        dead += [] if alive else [name]
    print(",".join(dead), flush=True)
"""


def service(name: str, app: str, **ports: tuple[int, int]) -> str:
    listed = ", ".join(f"{{name: {n}, port: {p}, targetPort: {t}}}" for n, (p, t) in ports.items())
    spec = f"{{selector: {{app: {app}}}, ports: [{listed}]}}"
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def pod(name: str, command: list[str], port: int = 0) -> str:
    container: dict[str, object] = {"name": "c", "command": command}
    if port:
        container["readinessProbe"] = {"tcpSocket": {"port": port}}
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container]},
    }
    return json.dumps(manifest) + "\n"


CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "defaultConfig: {drainDuration: 1s}"}
---
"""
MANIFESTS = CONFIG + "---\n".join((
    service("raw", "server", tcp=(5000, 5000)),
    service("web", "server", http=(80, 8000)),
    service("any", "server", main=(5002, 5002)),
    pod("server", ["python3", "-c", SERVER], 8000),
    pod("client", ["sleep", "1000000"]),
))  # fmt: skip

ROUTES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec: {hosts: [web], http: [{timeout: 100s, route: [{destination: {host: web}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec: {host: web, subsets: [{name: all, labels: {app: server}}]}
"""
OUTSIDE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec: {hosts: [a.example.com], ports: [{number: 80, name: any}, {number: 5000, name: tls, protocol: TLS}]}
"""
CHANGES = {
    "routes and subsets": ROUTES,
    "a Service of the same ports, without pods": service("empty", "nobody", http=(80, 80), tcp=(5000, 5000)),
    "a second Service that leads to a port that has one": service("again", "server", tcp=(5009, 5000)),
    "a second Service that leads to another HTTP port": service("more", "server", http=(81, 7777)),
    "a second Service that leads to a port of no declared protocol": service("unnamed", "server", main=(82, 7778)),
    "a second Service that leads to a port of gRPC": service("more-grpc", "server", grpc=(84, 7780)),
    "a host outside, on the same ports": OUTSIDE,
}


class Held:
    """Connections from the client, one of each kind, over which something is said when it is asked."""

    def __init__(self, mesh: Mesh) -> None:
        command = [str(PILOTFISH), "exec", "--name", mesh.name, "client", "--", "python3", "-c", CLIENT]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=mesh.environment
        )
        assert self._say(None) == "up"

    def dead(self) -> str:
        """Which of them are."""
        return self._say("\n")

    def close(self) -> None:
        self._process.communicate(timeout=10)

    def _say(self, text: str | None) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if text is not None:
            self._process.stdin.write(text)
            self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    with make_mesh("long", MANIFESTS) as running:
        yield running


def listeners(mesh: Mesh, pod: str) -> dict[str, int]:
    """Envoy's counts of `listener_manager`."""
    answer = mesh.admin(pod, "/stats?filter=^listener_manager&format=json")
    stats = (s for s in json.loads(answer)["stats"] if "name" in s)
    return {s["name"].removeprefix("listener_manager."): s["value"] for s in stats}


def replaced(mesh: Mesh) -> dict[str, int]:
    """How many listeners each Envoy has replaced as a whole."""
    counts = {name: listeners(mesh, name) for name in ("server", "client")}
    return {name: c["listener_modified"] - c["listener_in_place_updated"] for name, c in counts.items()}


def settle(mesh: Mesh) -> None:
    """Until every proxy has what it should and nothing drains any more."""
    wait_until("in sync", lambda: mesh.status["ready"])
    for name in ("server", "client"):
        wait_until("drained", lambda name=name: not _draining(listeners(mesh, name)))  # type: ignore[misc]


def _draining(found: dict[str, int]) -> int:
    return found["total_filter_chains_draining"] + found["total_listeners_draining"]


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_elsewhere_cuts_no_connection(mesh: Mesh, what: str) -> None:
    held = Held(mesh)
    before = replaced(mesh)
    for command in ("apply", "delete"):
        mesh.call(command, "-f", "-", stdin=CHANGES[what])
        settle(mesh)
        assert held.dead() == "", f"after {command}"
    held.close()
    assert replaced(mesh) == before
