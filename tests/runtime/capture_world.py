"""Three namespaces in which connections are made for real, and what is seen of them where they arrive.

    outside ─ eth0 ─ pod ─ eth1 ─ vm

`outside` answers for every address of EXTERNAL. On each of PORTS, TCP and UDP, IPv4 and IPv6, every namespace listens,
so that a connection arrives somewhere whatever the rules do. All sockets are of this process: one connection costs less
than a millisecond. One connection at a time; each has a source port of its own, as conntrack remembers.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import count
from typing import Literal

from pilotfish.runtime.linux.netns import NetNs

Place = Literal["outside", "pod", "vm"]
PORTS = (53, 80, 443, 8080, 9090, 15001, 15006, 15008, 15020, 15053)
POD = {4: "198.18.1.2", 6: "2001:db8:1::2"}
POD_AT_VM = {4: "198.18.2.1", 6: "2001:db8:2::1"}
OUTSIDE = {4: "198.18.1.1", 6: "2001:db8:1::1"}
VM = {4: "198.18.2.2", 6: "2001:db8:2::2"}
EXTERNAL = {
    4: ("203.0.113.7", "203.0.113.8", "198.51.100.9"),
    6: ("2001:db8:113::7", "2001:db8:113::8", "2001:db8:51::9"),
}
_SO_ORIGINAL_DST = 80
"""linux/netfilter_ipv4.h; the same number for IPv6."""
_SO_RCVMARK = 75
"""asm-generic/socket.h, since Linux 5.19; at level SOL_SOCKET, answered as SO_MARK."""
_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75
_SYN, _ACK, _RST = 0x02, 0x10, 0x04
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_ANY = {4: "0.0.0.0", 6: "::"}
_libc = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Arrival:
    place: Place
    port: int
    """Of the socket that listens."""
    original: tuple[str, int] | None
    """Where it was meant to go, as the receiver can tell; None for UDP."""
    marks: tuple[int, ...]
    """Of the first packet, and for TCP of the handshake's last; only in the pod, as a link takes marks off."""


@dataclass(frozen=True, slots=True)
class Sending:
    """A connection to be made."""

    place: Place
    protocol: Literal["tcp", "udp"]
    destination: str
    port: int
    source: str = ""
    """"" for the kernel's choice."""
    uid: int = 0
    gid: int = 0
    mark: int = 0

    @property
    def family(self) -> Literal[4, 6]:
        return 6 if ":" in self.destination else 4


class World:
    def __init__(self, namespaces: dict[Place, NetNs], stack: ExitStack) -> None:
        self.namespaces = namespaces
        self._stack = stack
        self._selector = stack.enter_context(selectors.DefaultSelector())
        self._source_ports = count()
        self._seen = {family: self._observe(family) for family in (4, 6)}
        for place in namespaces:
            for family in (4, 6):
                for port in PORTS:
                    self._listen(place, family, port, socket.SOCK_STREAM)
                    self._listen(place, family, port, socket.SOCK_DGRAM)

    @property
    def pod(self) -> NetNs:
        return self.namespaces["pod"]

    def send(self, sending: Sending, source_port: int, patience: float = 2.0) -> Arrival | None:
        """Where it arrived; None if it did not within `patience` seconds."""
        for seen in self._seen.values():
            _drain(seen)
        with self._socket(sending) as client:
            client.bind((sending.source or _ANY[sending.family], source_port))
            client.setblocking(False)
            try:
                client.connect((sending.destination, sending.port))
                if sending.protocol == "udp":
                    client.send(b"?")
            except BlockingIOError:
                pass
            return self._await(sending, source_port, patience)

    def send_bogus(self, family: Literal[4, 6], port: int, patience: float) -> bool:
        """A packet of no connection, an ACK, from outside to the pod: whether the pod answers (with RST)."""
        source_port = self.next_source_port()
        with self.namespaces["outside"].entered():
            raw = socket.socket(_FAMILIES[family], socket.SOCK_RAW, socket.IPPROTO_TCP)
        with raw, selectors.DefaultSelector() as selector:
            selector.register(raw, selectors.EVENT_READ)
            raw.sendto(_bare_ack(family, source_port, port), (POD[family], 0))
            while selector.select(patience):
                ports, flags = _tcp(family, raw.recv(2048))
                if ports == (port, source_port) and flags & _RST:
                    return True
        return False

    def next_source_port(self) -> int:
        return 20000 + next(self._source_ports) % 40000

    def _socket(self, sending: Sending) -> socket.socket:
        """Its owner, for rules, is the user that makes it: the file system user, which a thread may change alone."""
        kind = socket.SOCK_STREAM if sending.protocol == "tcp" else socket.SOCK_DGRAM
        with self.namespaces[sending.place].entered():
            _libc.setfsgid(sending.gid)
            _libc.setfsuid(sending.uid)
            try:
                client = socket.socket(_FAMILIES[sending.family], kind)
            finally:
                _libc.setfsuid(0)
                _libc.setfsgid(0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, sending.mark)
        _make_transparent(client)
        if kind == socket.SOCK_STREAM:
            # It ends with RST: nothing lingers.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return client

    def _listen(self, place: Place, family: int, port: int, kind: int) -> None:
        server = self._stack.enter_context(self.namespaces[place].socket(_FAMILIES[family], kind))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == 6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _make_transparent(server)
        server.bind((_ANY[family], port))
        server.setblocking(False)
        if kind == socket.SOCK_STREAM:
            server.listen()
        else:
            server.setsockopt(socket.SOL_SOCKET, _SO_RCVMARK, 1)
        self._selector.register(server, selectors.EVENT_READ, (place, port))

    def _observe(self, family: int) -> socket.socket:
        """Gets a copy of every TCP packet that the pod takes in, with its mark."""
        with self.pod.entered():
            seen = socket.socket(_FAMILIES[family], socket.SOCK_RAW, socket.IPPROTO_TCP)
        seen.setsockopt(socket.SOL_SOCKET, _SO_RCVMARK, 1)
        seen.setblocking(False)
        return self._stack.enter_context(seen)

    def _await(self, sending: Sending, source_port: int, patience: float) -> Arrival | None:
        for key, _ in self._selector.select(patience):
            place, port = key.data
            server = key.fileobj
            assert isinstance(server, socket.socket)
            if sending.protocol == "udp":
                _, ancillary, _, sender = server.recvmsg(16, 64)
                assert sender[1] == source_port
                return Arrival(place, port, None, _marks(ancillary) if place == "pod" else ())
            accepted, sender = server.accept()
            assert sender[1] == source_port
            with accepted:
                original = _original_destination(accepted, sending.family)
            return Arrival(place, port, original, self._marks_of(sending, source_port) if place == "pod" else ())
        return None

    def _marks_of(self, sending: Sending, source_port: int) -> tuple[int, ...]:
        """Of the SYN and of the ACK behind it."""
        found: dict[int, int] = {}
        for data, mark in _drain(self._seen[sending.family]):
            ports, flags = _tcp(sending.family, data)
            if ports[0] == source_port and flags in (_SYN, _ACK):
                found.setdefault(flags, mark)
        return tuple(found[flags] for flags in (_SYN, _ACK))


@contextmanager
def world(owned: bool = False) -> Iterator[World]:
    """Made once and left as found: without any rules of ours, the namespaces' own end with it.

    `owned`: a user namespace owns the pod's.
    """
    places: tuple[Place, ...] = ("outside", "pod", "vm")
    with ExitStack() as stack:
        namespaces: dict[Place, NetNs] = {}
        for place in places:
            create = NetNs.create_with_owner if owned and place == "pod" else NetNs.create
            namespaces[place] = create(f"pftest-{place}-{os.getpid()}")
            stack.callback(namespaces[place].delete)
        _join(namespaces)
        yield World(namespaces, stack)


def _join(namespaces: dict[Place, NetNs]) -> None:
    for namespace in namespaces.values():
        namespace.sysctl(
            {
                "ipv4/ip_forward": "1",
                "ipv4/conf/all/rp_filter": "0",
                "ipv4/conf/default/rp_filter": "0",
                "ipv6/conf/all/forwarding": "1",
                "ipv6/conf/all/accept_dad": "0",
                "ipv6/conf/default/accept_dad": "0",
                # An ACK of no connection is INVALID, not the rest of one that began before (nf_conntrack-sysctl.rst).
                "netfilter/nf_conntrack_tcp_loose": "0",
            }
        )
    pod = namespaces["pod"].name
    _ip(
        namespaces["outside"],
        f"link add eth0 type veth peer name eth0 netns {pod}",
        *_addresses("eth0", OUTSIDE),
        "link set eth0 up",
        f"route add {_network(VM[4], 24)} via {POD[4]}",
        f"route add {_network(VM[6], 64)} via {POD[6]}",
        *(f"route add local {address} dev lo" for family in (4, 6) for address in EXTERNAL[family]),
    )
    _ip(
        namespaces["vm"],
        f"link add eth0 type veth peer name eth1 netns {pod}",
        *_addresses("eth0", VM),
        "link set eth0 up",
    )
    _ip(
        namespaces["pod"],
        *_addresses("eth0", POD),
        *_addresses("eth1", POD_AT_VM),
        "link set eth0 up",
        "link set eth1 up",
        f"route add default via {OUTSIDE[4]}",
        f"route add ::/0 via {OUTSIDE[6]}",
    )
    _ip(namespaces["vm"], f"route add default via {POD_AT_VM[4]}", f"route add ::/0 via {POD_AT_VM[6]}")


def _make_transparent(made: socket.socket) -> None:
    """It may have addresses that are not this namespace's own: TPROXY asks for it (tproxy.rst)."""
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
    else:
        made.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)


def _addresses(interface: str, addresses: dict[int, str]) -> tuple[str, ...]:
    return (
        f"address add {addresses[4]}/24 dev {interface}",
        f"address add {addresses[6]}/64 dev {interface} nodad",
    )


def _network(address: str, length: int) -> str:
    return str(ip_network(f"{address}/{length}", strict=False))


def _ip(namespace: NetNs, *commands: str) -> None:
    with namespace.entered():
        subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


def _drain(seen: socket.socket) -> list[tuple[bytes, int]]:
    found: list[tuple[bytes, int]] = []
    while True:
        try:
            data, ancillary, _, _ = seen.recvmsg(2048, 64)
        except BlockingIOError:
            return found
        found.append((data, _marks(ancillary)[0]))


def _marks(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, ...]:
    return tuple(struct.unpack("I", data)[0] for level, kind, data in ancillary if (level, kind) == (1, 36))


def _tcp(family: int, data: bytes) -> tuple[tuple[int, int], int]:
    """Ports and flags; a raw socket of IPv4 gives the IP header, too (raw(7))."""
    start = (data[0] & 0x0F) * 4 if family == 4 else 0
    source, destination = struct.unpack_from("!HH", data, start)
    return (source, destination), data[start + 13] & 0x1F


def _bare_ack(family: Literal[4, 6], source_port: int, port: int) -> bytes:
    header = struct.pack("!HHIIBBHHH", source_port, port, 1000, 2000, 5 << 4, _ACK, 1024, 0, 0)
    addresses = (socket.inet_pton(_FAMILIES[family], text) for text in (OUTSIDE[family], POD[family]))
    pseudo = b"".join(addresses) + struct.pack("!HHI", 0, socket.IPPROTO_TCP, len(header))[2:] + header
    pseudo += b"\0" * (len(pseudo) % 2)
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return header[:16] + struct.pack("!H", ~total & 0xFFFF) + header[18:]


def _original_destination(accepted: socket.socket, family: int) -> tuple[str, int]:
    """As Envoy's original_dst filter: what conntrack has, else the socket's own address."""
    level, start, length = (socket.SOL_IP, 4, 4) if family == 4 else (socket.IPPROTO_IPV6, 8, 16)
    try:
        data = accepted.getsockopt(level, _SO_ORIGINAL_DST, 28)
    except FileNotFoundError:
        address, port, *_ = accepted.getsockname()
        return address, port
    return socket.inet_ntop(_FAMILIES[family], data[start : start + length]), struct.unpack("!H", data[2:4])[0]
