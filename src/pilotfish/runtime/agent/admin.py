"""Envoy's admin port, asked from inside its namespace.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/operations/admin
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from pilotfish.agent.readiness import Stats, parse_stats
from pilotfish.runtime.agent.sockets import open_socket
from pilotfish.runtime.http import loop
from pilotfish.runtime.http.message import Answer, Request
from pilotfish.runtime.linux.netns import NetNs

_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class Admin:
    """Where one Envoy's admin listens: 127.0.0.1:`port` of a namespace (None: this process's own)."""

    netns: NetNs | None
    port: int

    async def request(self, method: str, path: str, timeout: float = _TIMEOUT) -> Answer:
        """Raises OSError (ConnectionRefusedError, TimeoutError, ...) if there is no Envoy that answers."""
        stream = open_socket(self.netns, socket.AF_INET)
        return await loop.ask(stream, ("127.0.0.1", self.port), Request(method, path), timeout)

    async def stats(self, pattern: str) -> Stats | None:
        """Those whose names fit; None if it does not answer."""
        with suppress(OSError):
            answer = await self.request("GET", f"/stats?filter={quote(pattern, safe='')}")
            return parse_stats(answer.body.decode(errors="replace")) if answer.status == 200 else None
        return None
