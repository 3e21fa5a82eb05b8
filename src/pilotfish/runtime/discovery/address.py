"""Where a server listens: `HOST:PORT` as given on the command line."""

from __future__ import annotations

from dataclasses import dataclass

from pilotfish.model.addresses import host_port, is_loopback


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    """"" for every address, of both families."""
    port: int
    """0: the system chooses."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """From `127.0.0.1:15010`, `[::1]:15010`, `localhost:15010` or `:15010` (every address). Raises ValueError."""
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:15010 or [::1]:15010")
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    @property
    def is_every(self) -> bool:
        return not self.host

    @property
    def is_loopback(self) -> bool:
        """Only processes of this machine (of this network namespace) can reach it."""
        return is_loopback(self.host) or self.host == "localhost"

    def __str__(self) -> str:
        return host_port(self.host, self.port)
