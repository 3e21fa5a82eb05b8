"""TCP connections, and servers that tell their name."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

from tests.envoy.calls import connect
from tests.envoy.conftest import LiveEnvoy


def start_server(live: LiveEnvoy, port: int, name: str) -> None:
    command = ["ip", "netns", "exec", live.peer, sys.executable, "-ISc", _SERVER, str(port), name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    live.processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


def start_greeter(live: LiveEnvoy, address: str, port: int, netns: str) -> None:
    """A server that says hello to whoever connects, and closes."""
    command = ["ip", "netns", "exec", netns, sys.executable, "-ISc", _GREETER, address, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    live.processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


def connect_all(netns: str, calls: Sequence[tuple[str, int, str]]) -> list[str]:
    """Which server answers each connection to an address and port, with this server name; "closed" if none does."""
    return [_answer(netns, *each) for each in calls]


def _answer(netns: str, address: str, port: int, name: str) -> str:
    try:
        with connect(netns, address, port) as stream:
            stream.sendall(_hello(name) if name else b"hi")
            return stream.recv(4096).decode() or "closed"
    except ConnectionError:
        return "closed"


_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _hello(name: str) -> bytes:
    """A server name is said in a TLS handshake, of which this is the first message."""
    to_server = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(
            ssl.MemoryBIO(), to_server, server_hostname=name
        ).do_handshake()
    return to_server.read()


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

_GREETER = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    print("ready", flush=True)
    while True:
        with server.accept()[0] as connection:
            connection.sendall(b"hello\\n")
"""
