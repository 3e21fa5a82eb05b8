"""Flows that a namespace's kernel tracks and translates: find them, and make it forget them.

Source: kernel include/uapi/linux/netfilter/nfnetlink_conntrack.h, net/netfilter/nf_conntrack_netlink.c.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Mapping

from pilotfish.runtime.linux import netlink
from pilotfish.runtime.linux.netlink import Message, Netlink, attribute, parse_attributes
from pilotfish.runtime.linux.netns import NetNs

Endpoint = tuple[str, int]
_SUBSYSTEM = 1 << 8
_GET, _DELETE = _SUBSYSTEM | 1, _SUBSYSTEM | 2
_ORIGINAL, _REPLY, _ID, _FILTER = 1, 2, 12, 25
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_SOURCE_V4, _DESTINATION_V4 = 1, 2
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_NESTED = 0x8000
_BY_DESTINATION = 1 << 1 | 1 << 3 | 1 << 5
"""CTA_FILTER_F_CTA_IP_DST, _PROTO_NUM, _PROTO_DST_PORT."""
_HEADER = struct.pack("=BBH", socket.AF_INET, 0, 0)


def forget_udp(netns: NetNs, destination: Endpoint, endpoints: Iterable[Endpoint]) -> int:
    """The flows to `destination`, IPv4, that are translated to one of `endpoints`; returns how many there were.

    Blocks for as long as the kernel takes to look through its table: a millisecond for some ten thousand flows.
    """
    wanted = set(endpoints)
    with netlink.opened(netns, netlink.NETFILTER) as link:
        listed = (parse_attributes(data[len(_HEADER) :]) for data in link.dump(_GET, _filter(destination)))
        found = [flow for flow in listed if _goes_to(flow) == destination and _is_answered_by(flow) in wanted]
        for flow in found:
            _delete(link, flow)
    return len(found)


def _filter(destination: Endpoint) -> bytes:
    """What the kernel is to list. One older than 5.8 lists everything."""
    address, port = destination
    ip = attribute(_TUPLE_IP | _NESTED, attribute(_DESTINATION_V4, socket.inet_aton(address)))
    number = attribute(_NUMBER, bytes((socket.IPPROTO_UDP,)))
    protocol = attribute(_TUPLE_PROTOCOL | _NESTED, number + attribute(_DESTINATION_PORT, struct.pack("!H", port)))
    flags = attribute(_ORIGINAL, struct.pack("=I", _BY_DESTINATION)) + attribute(_REPLY, struct.pack("=I", 0))
    return _HEADER + attribute(_ORIGINAL | _NESTED, ip + protocol) + attribute(_FILTER | _NESTED, flags)


def _goes_to(flow: Mapping[int, bytes]) -> Endpoint | None:
    """Where its client sends; None if it is not UDP over IPv4."""
    return _end(flow.get(_ORIGINAL, b""), _DESTINATION_V4, _DESTINATION_PORT)


def _is_answered_by(flow: Mapping[int, bytes]) -> Endpoint | None:
    return _end(flow.get(_REPLY, b""), _SOURCE_V4, _SOURCE_PORT)


def _end(data: bytes, address: int, port: int) -> Endpoint | None:
    parts = parse_attributes(data)
    ip, protocol = (parse_attributes(parts.get(kind, b"")) for kind in (_TUPLE_IP, _TUPLE_PROTOCOL))
    if protocol.get(_NUMBER) != bytes((socket.IPPROTO_UDP,)) or address not in ip:
        return None
    return socket.inet_ntoa(ip[address]), struct.unpack("!H", protocol[port])[0]


def _delete(link: Netlink, flow: Mapping[int, bytes]) -> None:
    payload = _HEADER + attribute(_ORIGINAL | _NESTED, flow[_ORIGINAL]) + attribute(_ID, flow[_ID])
    try:
        link.change(Message(_DELETE, payload))
    except OSError as error:
        # It has ended by itself meanwhile.
        if error.errno != errno.ENOENT:
            raise
