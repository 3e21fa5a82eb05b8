"""Pods of a mesh that call Services, and what is seen of it where it arrives. All sockets are of this process."""

from __future__ import annotations

import os
import selectors
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

from pilotfish.runtime.agent.sockets import owned_by
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.net.leftovers import sweep
from pilotfish.runtime.net.network import MeshNetwork

MESH = f"s{os.getpid()}"
TCP_PORT, UDP_PORT = 8080, 5300
PROXY_PORTS = (15001, 15006)
"""Where a captured pod's connections go; here they are the test's, not a proxy's."""
_SO_ORIGINAL_DST = 80
_IP_TRANSPARENT = 19


@dataclass(frozen=True)
class Arrival:
    pod: str
    client: str
    """The address that the pod sees."""
    port: int
    meant: tuple[str, int]
    """Where the pod's kernel says that it was going."""


class Pods:
    """Each listens as soon as it is there: TCP on TCP_PORT and PROXY_PORTS, UDP on UDP_PORT."""

    def __init__(self, network: MeshNetwork, stack: ExitStack) -> None:
        self.network = network
        self.namespaces: dict[str, NetNs] = {"node": network.node}
        self.addresses: dict[str, str] = {"node": str(network.subnets.node[0])}
        self._selector = stack.enter_context(selectors.DefaultSelector())
        self._stack = stack

    async def add(self, name: str) -> None:
        address = str(self.network.subnets.v4[len(self.namespaces) + 1])
        self.addresses[name] = address
        self.namespaces[name] = await self.network.add_pod("vm", name, (address,))
        for port in (TCP_PORT, *PROXY_PORTS):
            self._listen(name, socket.SOCK_STREAM, port).listen(1024)
        self._listen(name, socket.SOCK_DGRAM, UDP_PORT)

    def endpoints(self, *names: str, port: int = TCP_PORT) -> tuple[tuple[str, int], ...]:
        return tuple((self.addresses[name], port) for name in names)

    def connect(self, client: str, address: str, port: int = 80, uid: int = 0) -> Arrival:
        """By TCP, with a word there and a word back."""
        mine, accepted, arrival = self.open(client, address, port, uid)
        with mine, accepted:
            mine.sendall(b"ping")
            assert accepted.recv(16) == b"ping"
            accepted.sendall(b"pong")
            assert mine.recv(16) == b"pong"
            # No TIME_WAIT: a test makes many.
            mine.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return arrival

    def open(
        self, client: str, address: str, port: int = 80, uid: int = 0
    ) -> tuple[socket.socket, socket.socket, Arrival]:
        """A TCP connection: the client's end, the pod's, and how it arrived. OSError if it does not come about."""
        with owned_by(uid):
            mine = self.namespaces[client].socket()
        mine.settimeout(2)
        try:
            mine.connect((address, port))
        except OSError:
            mine.close()
            raise
        for key, _ in self._selector.select(2):
            pod, listening = key.data
            accepted, (seen, _) = key.fileobj.accept()  # type: ignore[union-attr]
            accepted.settimeout(2)
            return mine, accepted, Arrival(pod, seen, listening, _meant(accepted))
        mine.close()
        raise AssertionError("nobody was called")

    def ask(self, mine: socket.socket, address: str, port: int = 53) -> Arrival:
        """By UDP, on a socket of the client's; the answer comes from where the question went."""
        mine.settimeout(2)
        mine.sendto(b"ping", (address, port))
        for key, _ in self._selector.select(2):
            server = key.fileobj
            assert isinstance(server, socket.socket)
            question, sender = server.recvfrom(16)
            server.sendto(question, sender)
            answer, source = mine.recvfrom(16)
            assert (answer, source) == (b"ping", (address, port))
            return Arrival(key.data[0], sender[0], key.data[1], (self.addresses[key.data[0]], key.data[1]))
        raise AssertionError("nobody was asked")

    def spread(self, times: int, call: Callable[[], Arrival]) -> Counter[str]:
        return Counter(call().pod for _ in range(times))

    def _listen(self, name: str, kind: int, port: int) -> socket.socket:
        server = self._stack.enter_context(self.namespaces[name].socket(kind=kind))
        server.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
        server.bind(("0.0.0.0", port))
        server.setblocking(False)
        self._selector.register(server, selectors.EVENT_READ, (name, port))
        return server


@asynccontextmanager
async def pods_of_a_mesh(*names: str) -> AsyncIterator[Pods]:
    with ExitStack() as stack:
        made = Pods(await MeshNetwork.create(MESH), stack)
        try:
            for name in names:
                await made.add(name)
            yield made
        finally:
            await sweep(MESH)


def _meant(accepted: socket.socket) -> tuple[str, int]:
    """As Envoy's original_dst filter: what conntrack has, else the socket's own address."""
    try:
        data = accepted.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
    except FileNotFoundError:
        address, port = accepted.getsockname()
        return address, port
    return socket.inet_ntoa(data[4:8]), struct.unpack("!H", data[2:4])[0]
