"""TCP connections, and servers that tell their name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from tests.envoy.conftest import LiveEnvoy


def start_server(live: LiveEnvoy, port: int, name: str) -> None:
    command = ["ip", "netns", "exec", live.peer, sys.executable, "-ISc", _SERVER, str(port), name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    live.processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


def connect_all(netns: str, calls: Sequence[tuple[str, int, str]]) -> list[str]:
    """Which server answers each connection to an address and port, with this server name; "closed" if none does."""
    command = ["ip", "netns", "exec", netns, sys.executable, "-ISc", _CLIENT]
    done = subprocess.run(command, input=json.dumps(calls), capture_output=True, text=True, timeout=30, check=True)
    answers: list[str] = json.loads(done.stdout)
    return answers


_SERVER = """
import socket, sys
with socket.create_server(("10.245.1.2", int(sys.argv[1])), backlog=512) as server:
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(sys.argv[2].encode())
"""
"""Answers its name to whatever comes first."""

_CLIENT = """
import json, socket, ssl, sys
def hello(name):
    context = ssl.create_default_context()
    to_server = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), to_server, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return to_server.read()
def call(address, port, name):
    try:
        with socket.create_connection((address, port), timeout=5) as s:
            s.sendall(hello(name) if name else b"hi")
            return s.recv(4096).decode() or "closed"
    except ConnectionError:
        return "closed"
json.dump([call(*each) for each in json.load(sys.stdin)], sys.stdout)
"""
"""A server name is said in a TLS handshake, of which no more than the first message is sent."""
