"""A new namespace's loopback: up, with the addresses from which a proxy calls its application (Istio's choice).

127.0.0.6 is already in 127.0.0.0/8; `::6` stands beside `::1`. All of it without a process, which would cost more.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
from pathlib import Path

from pilotfish.model.wellknown import INBOUND_BIND_IPV6
from pilotfish.runtime.linux import netlink
from pilotfish.runtime.linux.netlink import ACK, CREATE, EXCL, REQUEST, Message, attribute

_SIOCSIFFLAGS, _SIOCGIFINDEX, _IFF_UP = 0x8914, 0x8933, 1
_NEW_ADDRESS = 20
_ADDRESSES = 0x100
"""RTMGRP_IPV6_IFADDR: their changes are told."""
_IFADDRMSG = struct.Struct("=BBBBI")
"""Family, length of the prefix, flags, scope, index of the interface."""
_LOCAL, _NO_DAD, _SCOPE_HOST = 2, 0x02, 254
_PATIENCE = 5.0


def bring_up() -> None:
    """In the thread's namespace. What it has may be used at once. OSError if the kernel refuses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _set_up(control)
        if ipv6_enabled():
            index = struct.unpack("16si20x", fcntl.ioctl(control, _SIOCGIFINDEX, struct.pack("16s24x", b"lo")))[1]
            _add_address(index)
            # Who holds the kernel's lock of links and addresses as it tells of an address sets its route before it lets
            # go; so after one more change the route is there.
            _set_up(control)


def add_source() -> None:
    """The address from which a proxy calls its application over IPv6, in the thread's namespace, if it is not there:
    whoever makes a cluster's pods knows nothing of it. OSError if the kernel refuses."""
    if ipv6_enabled():
        try:
            _add_address(socket.if_nametoindex("lo"))
        except FileExistsError:
            return


def knows_ipv6() -> bool:
    """Whether this machine's kernel has IPv6 at all."""
    return Path("/proc/sys/net/ipv6").exists()


def ipv6_enabled() -> bool:
    """Whether the kernel has IPv6 in the thread's namespace."""
    try:
        return Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").read_text().strip() == "0"
    except FileNotFoundError:
        return False


def _set_up(control: socket.socket) -> None:
    """Source: netdevice(7)."""
    fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))


def _add_address(index: int) -> None:
    """Returns when the kernel is done: it puts an IPv6 address into force, and tells of it, some time after it took it,
    and until then nobody can bind to it (net/ipv6/addrconf.c, addrconf_dad_work). Without duplicate address detection
    it tells once."""
    header = _IFADDRMSG.pack(socket.AF_INET6, 128, _NO_DAD, _SCOPE_HOST, index)
    address = attribute(_LOCAL, socket.inet_pton(socket.AF_INET6, INBOUND_BIND_IPV6))
    with (
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, netlink.ROUTE) as told,
        netlink.opened(None, netlink.ROUTE) as link,
    ):
        told.bind((0, _ADDRESSES))
        link.change(Message(_NEW_ADDRESS, header + address, REQUEST | ACK | CREATE | EXCL))
        if not select.select([told], [], [], _PATIENCE)[0]:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
