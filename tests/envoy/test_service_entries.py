"""ServiceEntries as a client sees them: which server of several answers a request through a real Envoy."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.envoy.calls import call_all
from tests.envoy.conftest import PEER4, Start

ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: vm}}
spec:
  hosts: [{host}]
  addresses: {addresses}
  resolution: {resolution}
  ports: {ports}
  {endpoints}
---
"""
HTTP = "[{number: 80, name: http, protocol: HTTP}]"


def _entry(name: str, host: str, address: str = "", ports: str = HTTP, endpoints: str = "", how: str = "STATIC") -> str:
    listed = f"endpoints: {endpoints}" if endpoints else ""
    addresses = f"[{address}]" if address else "[]"
    return ENTRY.format(name=name, host=host, addresses=addresses, ports=ports, endpoints=listed, resolution=how)


def test_several_of_one_host_are_put_together_and_weights_divide(start: Start) -> None:
    ports = "[{number: 80, name: http, protocol: HTTP, targetPort: 7002}, {number: 81, name: http-2, protocol: HTTP}]"
    endpoint = f"[{{address: {PEER4}, ports: {{http: 7001}}}}]"
    live = start(
        _entry("one", "app.example.com", "10.96.0.7", endpoints=endpoint)
        + _entry("two", "app.example.com", "10.96.0.7", ports, f"[{{address: {PEER4}, weight: 3}}]")
    )
    for port, name in ((7001, "one"), (7002, "two"), (81, "more")):
        live.start_app(live.peer, PEER4, port, name)
    request = "GET / HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n"
    found = call_all(live.netns, "10.96.0.7", 80, [[(0, request)]] * 400)
    answers = [re.findall(r"x-app: (\w+)", answer) for answer, _ in found]
    # 400 of 1:3, six standard deviations (8.7) to both sides.
    assert 248 < answers.count(["two"]) < 352
    assert answers.count(["one"]) == 400 - answers.count(["two"])
    assert "more GET /" in live.request(live.netns, "10.96.0.7", 81, "app.example.com")


def test_an_endpoint_may_be_a_socket_in_the_pod(start: Start) -> None:
    live = start(_entry("socket", "app.example.com", "10.96.0.7", endpoints='[{address: "unix://@pft-app"}]'))
    command = ["ip", "netns", "exec", live.netns, sys.executable, "-ISc", _SERVER]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    live.processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert live.request(live.netns, "10.96.0.7", 80, "app.example.com").endswith("socket")


_SERVER = """
import socket
with socket.socket(socket.AF_UNIX) as server:
    server.bind("\\0pft-app")
    server.listen()
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\nConnection: close\\r\\n\\r\\nsocket")
"""
