"""Sockets that listen where the command line says, for both families of addresses where it names none."""

from __future__ import annotations

import errno
import socket
from typing import Final

from pilotfish.runtime.discovery.address import Address

_NO_IPV6: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""The kernel has none, or it is turned off."""
_BACKLOG: Final = 128


def open_listening(address: Address) -> socket.socket:
    """Raises OSError."""
    if address.is_every:
        try:
            return socket.create_server(
                ("::", address.port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True
            )
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
            return socket.create_server(("0.0.0.0", address.port), backlog=_BACKLOG)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)


def port_of(listening: socket.socket) -> int:
    port: int = listening.getsockname()[1]
    return port
