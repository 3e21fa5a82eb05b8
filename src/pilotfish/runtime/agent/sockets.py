"""Sockets where, and as whom, an agent needs them."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from pilotfish.runtime.agent.spec import AgentError
from pilotfish.runtime.linux.netns import NetNs

_libc = ctypes.CDLL(None, use_errno=True)


def open_socket(netns: NetNs | None, family: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A non-blocking socket in the namespace; None is this process's own, for which no privilege is needed."""
    made = socket.socket(family, kind) if netns is None else netns.socket(family, kind)
    made.setblocking(False)
    return made


def listen(netns: NetNs | None, host: str, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A bound socket, and a listening one if it is a stream; `::` takes IPv4 as well.

    AgentError names the port if it is taken; other failures are OSErrors (such as a namespace without IPv6).
    """
    made = open_socket(netns, family_of(host), kind)
    try:
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
        made.bind((host, port))
        if kind == socket.SOCK_STREAM:
            made.listen(128)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise _port_taken(port, netns) from error
        raise
    return made


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def has_ipv6(netns: NetNs | None) -> bool:
    """Whether the kernel does IPv6 there."""
    try:
        open_socket(netns, socket.AF_INET6).close()
    except OSError:
        return False
    return True


def check_free(netns: NetNs | None, host: str, port: int) -> None:
    """AgentError if another process listens there already. For ports that Envoy takes, and would not name so well."""
    listen(netns, host, port).close()


def _port_taken(port: int, netns: NetNs | None) -> AgentError:
    inside = f"ip netns exec {netns.name} " if netns else ""
    command = f"{inside}ss -lntup 'sport = :{port}'"
    return AgentError(f"port {port} is taken, and the sidecar needs it", f"free it; this shows who has it: {command}")


@contextmanager
def owned_by(uid: int | None, gid: int | None = None) -> Iterator[None]:
    """Sockets made inside belong to `uid`, as netfilter's owner match sees it; None, or no root: to whom they would.
    Files are opened as if by `uid`, and `gid` if one is given.

    The capture rules let the sidecar's user pass. An agent that runs as root in a captured namespace would find its own
    connections to discovery captured, and answered by the Envoy that they are meant to configure. The kernel takes a
    socket's owner from the calling thread's file system uid (setfsuid(2), iptables-extensions(8) owner).
    """
    if uid is None or os.geteuid() != 0:
        yield
        return
    if gid is not None:
        _libc.setfsgid(gid)
    _libc.setfsuid(uid)
    try:
        yield
    finally:
        _libc.setfsuid(0)
        if gid is not None:
            _libc.setfsgid(0)
