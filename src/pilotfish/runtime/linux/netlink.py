"""The kernel's netlink sockets: ask, change, and be told of changes. In a namespace, or (None) where the thread is.

A process for each question (`nft list tables`, `ip rule`) would cost several milliseconds; this costs microseconds.
Source: netlink(7), rtnetlink(7), kernel include/uapi/linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pilotfish.runtime.errors import MachineError

if TYPE_CHECKING:
    from pilotfish.runtime.linux.netns import NetNs

ROUTE, NETFILTER = 0, 12
REQUEST, ACK, NONREC = 0x1, 0x4, 0x100
DUMP, CREATE, EXCL = 0x300, 0x400, 0x200
_DUMP_INTERRUPTED = 0x10
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_SOL_NETLINK, _ADD_MEMBERSHIP, _EXT_ACK = 270, 1, 11
_NETLINK = getattr(socket, "AF_NETLINK", 16)


@dataclass(frozen=True, slots=True)
class Message:
    kind: int
    payload: bytes
    flags: int = REQUEST | ACK


def attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)


def parse_attributes(data: bytes) -> Mapping[int, bytes]:
    """{number: value}, without the flags that nested ones carry."""
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[_ATTRIBUTE.size : length]
        data = data[length + (-length % 4) :]
    return found


class Netlink:
    """One socket in one namespace. Requests are answered at once, so nothing waits."""

    def __init__(self, netns: NetNs | None, protocol: int) -> None:
        with netns.entered() if netns else nullcontext():
            self._socket = socket.socket(_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def dump(self, kind: int, payload: bytes) -> list[bytes]:
        """The payloads of all that the kernel lists; again if it changed meanwhile. OSError if it refuses."""
        while True:
            self._send([Message(kind, payload, REQUEST | DUMP)])
            found, interrupted, done = [], False, False
            while not done:
                for kind_read, flags, data in self._receive():
                    interrupted |= bool(flags & _DUMP_INTERRUPTED)
                    if kind_read in (_DONE, _ERROR):
                        _raise(data)
                        done = True
                    else:
                        found.append(data)
            if not interrupted:
                return found

    def change(self, message: Message) -> None:
        """Returns when the kernel has done it; OSError if it refuses."""
        self.batch([message])

    def batch(self, messages: Sequence[Message]) -> None:
        """All in one send. OSError for the first that is refused."""
        self._send(messages)
        waiting = sum(bool(message.flags & ACK) for message in messages)
        while waiting > 0:
            for kind, _, data in self._receive():
                if kind == _ERROR:
                    waiting -= 1
                    _raise(data)

    def _send(self, messages: Sequence[Message]) -> None:
        sent = bytearray()
        for message in messages:
            self._sequence += 1
            length = _HEADER.size + len(message.payload)
            sent += _HEADER.pack(length, message.kind, message.flags, self._sequence, 0) + message.payload
        self._socket.send(bytes(sent))

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        data = self._socket.recv(1 << 17)
        while len(data) >= _HEADER.size:
            length, kind, flags, _, _ = _HEADER.unpack_from(data)
            yield kind, flags, data[_HEADER.size : length]
            data = data[length + (-length % 4) :]


@contextmanager
def opened(netns: NetNs | None, protocol: int) -> Iterator[Netlink]:
    link = Netlink(netns, protocol)
    try:
        yield link
    finally:
        link.close()


def subscribe(netns: NetNs, protocol: int, groups: Sequence[int]) -> socket.socket:
    """A socket that can be read whenever something of `groups` changes. What it says may be thrown away."""
    with netns.entered():
        told = socket.socket(_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    try:
        told.bind((0, 0))
        for group in groups:
            told.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    except OSError as error:
        told.close()
        remedy = "use root" if error.errno == errno.EPERM else "does this kernel have nf_tables?"
        raise MachineError(f"changes in {netns.path} can't be watched: {error.strerror}", remedy) from error
    return told


def _raise(data: bytes) -> None:
    number = -struct.unpack_from("=i", data)[0] if len(data) >= 4 else 0
    if number > 0:
        raise OSError(number, os.strerror(number))
