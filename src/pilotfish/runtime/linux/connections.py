"""TCP connections of a network namespace, ended from outside: whoever holds one finds it aborted.

A machine's proxy keeps connections that it opened in a pod, to use them again for whoever is in a namespace of that
path; what is open in a namespace keeps all of it, too.

Source: sock_diag(7), kernel include/uapi/linux/sock_diag.h (SOCK_DESTROY, since 4.5) and inet_diag.h
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Final

from pilotfish.runtime.linux import netlink
from pilotfish.runtime.linux.netlink import Message
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.reuseport import SOCK_DIAG

_BY_FAMILY: Final = 20
_DESTROY: Final = 21
_REQUEST: Final = struct.Struct("=BBBxI48s")
"""struct inet_diag_req_v2: family, protocol, extensions, states, and the socket's id."""
_ID: Final = slice(4, 52)
"""Of struct inet_diag_msg."""
_NOT_CONNECTED: Final = {6, 7, 10, 12}
"""TCP_TIME_WAIT, TCP_CLOSE, TCP_LISTEN, TCP_NEW_SYN_RECV (linux/tcp_states.h)."""
_CONNECTED: Final = sum(1 << state for state in range(1, 13) if state not in _NOT_CONNECTED)


def end_connections(netns: NetNs) -> None:
    """All, of whatever process. OSError where the kernel can't (CONFIG_INET_DIAG_DESTROY)."""
    with netlink.opened(netns, SOCK_DIAG) as diag:
        for family in (socket.AF_INET, socket.AF_INET6):
            for found in diag.dump(_BY_FAMILY, _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _CONNECTED, b"")):
                with suppress(FileNotFoundError):  # it has just ended
                    diag.change(Message(_DESTROY, _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, found[_ID])))
