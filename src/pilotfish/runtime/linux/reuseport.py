"""Listening sockets that share a port (SO_REUSEPORT): a stand-in that gets connections only while no other listens.

The kernel keeps the sockets of a port in a group. Which of them gets a connection is said by a program of the group:
the index of one (socket(7), SO_ATTACH_REUSEPORT_CBPF). An index that nobody has is as good as no program: any socket
gets it. When a socket is closed, the last of the group takes its place; so the stand-in, which came last, is the first
and only one once the others are gone. What waits in the queue of a socket that is closed goes to another of the group,
with all that was received, if net.ipv4.tcp_migrate_req says so (kernel, ip-sysctl.rst; since 5.14).
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from contextlib import nullcontext
from pathlib import Path

from pilotfish.runtime.linux.netlink import Netlink
from pilotfish.runtime.linux.netns import NetNs

SOCK_DIAG = 4
"""The netlink protocol of `listeners`."""
_MIGRATE = Path("/proc/sys/net/ipv4/tcp_migrate_req")
_SOCK_DIAG_BY_FAMILY = 20
_LISTEN = 1 << 10
_REQUEST = struct.Struct("=BBBBIHH44x")
"""struct inet_diag_req_v2 (linux/inet_diag.h): family, protocol, extensions, -, states, then the socket's id, of which
the source port, in network order, is enough."""
_INODE = struct.Struct("=68xI")
"""In struct inet_diag_msg."""
_ATTACH_REUSEPORT_CBPF = 51
_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75
_BACKLOG = 4096

_INSTRUCTION = struct.Struct("=HBBI")
"""struct sock_filter (linux/filter.h)."""
_LOAD_RANDOM = (0x20, 0, 0, 0xFFFFF000 + 56)
_NETWORK_HEADER = 0xFFF00000
"""SKF_NET_OFF: what begins there is the IP header of the packet."""
_LOAD_SOURCE = {
    socket.AF_INET: (0x20, 0, 0, _NETWORK_HEADER + 12),
    socket.AF_INET6: (0x20, 0, 0, _NETWORK_HEADER + 20),
}
"""The last four bytes of the address that the connection comes from."""
_MODULO, _RETURN_A, _RETURN = 0x94, 0x16, 0x06


def allow_migration(netns: NetNs | None) -> bool:
    """Whether the namespace's sockets leave their queues to others. It is made so, but in our own (None)."""
    with netns.entered() if netns else nullcontext():
        try:
            if netns:
                _MIGRATE.write_text("1")
            return _MIGRATE.read_text().strip() == "1"
        except FileNotFoundError:
            return False


def stand_in(
    made: socket.socket, address: str, port: int, others: int, transparent: bool, by_source: bool = False
) -> None:
    """Makes a new TCP socket the stand-in for `others` sockets of one owner, which listen already. OSError if not.

    `by_source`: all connections from one address are the same one's; else each has its share.
    """
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if transparent:
        ipv6 = made.family == socket.AF_INET6
        level, option = (socket.IPPROTO_IPV6, _IPV6_TRANSPARENT) if ipv6 else (socket.IPPROTO_IP, _IP_TRANSPARENT)
        made.setsockopt(level, option, 1)
    made.bind((address, port))
    made.listen(_BACKLOG)
    _attach(made, others, by_source)


def _attach(made: socket.socket, others: int, by_source: bool) -> None:
    """One of the first `others` sockets, by who connects or by chance, as the kernel would do it."""
    load = _LOAD_SOURCE[made.family] if by_source else _LOAD_RANDOM
    choice = [(_RETURN, 0, 0, 0)] if others == 1 else [load, (_MODULO, 0, 0, others), (_RETURN_A, 0, 0, 0)]
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*step) for step in choice))
    program = struct.pack("@HP", len(choice), ctypes.addressof(code))
    made.setsockopt(socket.SOL_SOCKET, _ATTACH_REUSEPORT_CBPF, program)


def listens(diag: Netlink, family: int, port: int) -> bool:
    """Whether a socket of this family listens there."""
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _LISTEN, socket.htons(port), 0)
    return bool(diag.dump(_SOCK_DIAG_BY_FAMILY, request))


def another_listens(diag: Netlink, made: socket.socket) -> bool:
    """Whether a socket beside this one listens on its port, in the same family."""
    port = socket.htons(made.getsockname()[1])
    request = _REQUEST.pack(made.family, socket.IPPROTO_TCP, 0, 0, _LISTEN, port, 0)
    own = os.fstat(made.fileno()).st_ino
    return any(_INODE.unpack_from(answer)[0] != own for answer in diag.dump(_SOCK_DIAG_BY_FAMILY, request))
