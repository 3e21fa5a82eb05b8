"""An address to connect to, from a name."""

from __future__ import annotations

import socket
from typing import Final

from pilotfish.model.addresses import is_ip
from pilotfish.runtime.thread import in_thread

Place = tuple[str, int]
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


async def resolve(host: str, port: int) -> tuple[socket.AddressFamily, Place]:
    """The best address of `host`, which may be one itself.

    Names are asked for each time, of the machine's resolvers (getaddrinfo(3)): what they lead to moves. OSError says
    which one nobody knows.
    """
    if is_ip(host):
        return socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port)
    try:
        found = await in_thread(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except socket.gaierror as error:
        raise OSError(f"{host} can't be resolved: {error.strerror}") from error
    for family, _, _, _, address in found:
        if family in _FAMILIES:
            return family, (str(address[0]), port)
    raise OSError(f"{host} has no IP address")
