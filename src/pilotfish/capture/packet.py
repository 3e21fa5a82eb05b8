"""A connection's packet on its way through the hooks: what rules look at and change."""

from __future__ import annotations

from pilotfish.capture.connection import LOOPBACK, Connection, Direction, State
from pilotfish.capture.verdict import Redirected, Tproxied, Translated

_LOOPBACK = {4: 0x7F000001, 6: 1}
"""127.0.0.1 and ::1, to which REDIRECT sends what a local process sends (iptables-extensions(8), REDIRECT)."""


class Packet:
    """Addresses are numbers. None means not known; an interface "" means that this hook has none."""

    __slots__ = (
        "connection_mark",
        "destination",
        "destination_port",
        "gid",
        "in_interface",
        "local",
        "mark",
        "out_interface",
        "protocol",
        "seen",
        "source",
        "source_port",
        "state",
        "uid",
        "version",
        "way",
    )

    def __init__(self, connection: Connection) -> None:
        outgoing = connection.direction is Direction.OUT
        origin = connection.origin
        self.version: int = connection.destination.version
        self.protocol: str = connection.protocol
        self.source: int | None = None if origin is None else int(origin)
        self.source_port: int | None = connection.source_port
        self.destination: int | None = int(connection.destination)
        self.destination_port: int = connection.destination_port
        self.in_interface: str | None = "" if outgoing else connection.via
        self.out_interface: str | None = connection.via if outgoing else ""
        self.uid: int | None = (connection.uid or 0) if outgoing else None
        """None: there is no socket, so no owner."""
        self.gid: int | None = (connection.gid or 0) if outgoing else None
        self.mark: int = connection.mark
        self.connection_mark: int = connection.connection_mark
        self.state: State = connection.state
        self.seen: bool = False
        """conntrack has looked at it, which it does between raw and mangle."""
        self.local: bool | None = connection.is_local
        self.way: Redirected | Tproxied | Translated | None = None
        """Where a rule has sent it."""

    @property
    def is_tracked(self) -> bool:
        return self.seen and self.state is not State.INVALID and self.state is not State.UNTRACKED

    @property
    def tracked_state(self) -> State:
        """INVALID is also what has not been looked at (xt_conntrack.c)."""
        return self.state if self.seen or self.state is State.UNTRACKED else State.INVALID

    def go(self, way: Redirected | Tproxied | Translated) -> None:
        """What TPROXY has given to a socket stays with it, even if nat then gives it another address (nf_tproxy.h)."""
        if not isinstance(self.way, Tproxied):
            self.way = way

    def redirect(self, port: int) -> None:
        """To this namespace: to loopback if sent here, else to the interface's first address, which we don't know."""
        self.destination = None if self.in_interface else _LOOPBACK[self.version]
        self.destination_port = port
        self.local = True

    def translate(self, destination: int, port: int, is_loopback: bool) -> None:
        self.destination = destination
        self.destination_port = port
        self.local = True if is_loopback else None

    def leave(self) -> None:
        """From OUTPUT on: where it was redirected decides the interface."""
        if self.way is not None and self.local is not False:
            self.out_interface = LOOPBACK if self.local else None

    def come_back(self) -> None:
        """What left by lo comes in by it, mark and conntrack entry included; its socket is no longer seen."""
        self.in_interface, self.out_interface = LOOPBACK, ""
        self.uid = self.gid = None
