"""Asking discovery's `api`: what a node and its agents want to know of it, each in its type.

Every method raises OSError where discovery is away, stalls, or answers nonsense.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from urllib.parse import urlencode

from pilotfish.model.names import NameTable
from pilotfish.model.struct import Frozen
from pilotfish.runtime.control.views import IdentityView, OwnerView, ProblemView, SyncView
from pilotfish.runtime.discovery.address import Address
from pilotfish.runtime.http import loop
from pilotfish.runtime.http.message import Answer, AnswerError, Request
from pilotfish.runtime.resolve import resolve

_SOON = 2.0
"""Seconds for what discovery has at hand, and for what it answers when it has waited long enough."""


class _Client(Frozen):
    version: str = ""


class Connected(Frozen):
    """Of /debug/adsz, which Envoys there are."""

    clients: tuple[_Client, ...] = ()


class DiscoveryClient:
    def __init__(self, address: str, open_socket: Callable[[int], socket.socket] = socket.socket) -> None:
        """`address`: HOST:PORT of the monitoring port, where HOST may be a name. `open_socket` is given the family."""
        self._address = Address.parse(address)
        self._open = open_socket

    async def is_ready(self) -> bool:
        """Whether it serves xDS."""
        return (await self._ask("/ready", timeout=1.0)).status == 200

    async def is_synced(self, version: int, proxies: int, wait: float) -> bool:
        """Whether every connected proxy, and so many at least, has acknowledged what follows from objects.json at
        `version`; false after `wait` seconds."""
        return await self._is_so("/api/synced", version, proxies, wait)

    async def is_told(self, version: int, proxies: int, wait: float) -> bool:
        """The same, but for the proxies that do not answer or refuse, which nobody waits for."""
        return await self._is_so("/api/told", version, proxies, wait)

    async def _is_so(self, path: str, version: int, proxies: int, wait: float) -> bool:
        answer = await self._ask(
            path, wait + _SOON, resourceVersion=str(version), proxies=str(proxies), wait=f"{wait:g}"
        )
        return answer.status == 200

    async def is_configured(self, proxy_id: str, wait: float) -> bool:
        """Whether the proxy has taken all that it should have; false after `wait` seconds."""
        answer = await self._ask("/api/configured", wait + _SOON, proxyID=proxy_id, wait=f"{wait:g}")
        if answer.status not in (200, 504):
            raise AnswerError(f"status {answer.status} instead of whether a proxy is configured")
        return answer.status == 200

    async def report_health(self, proxy_id: str, healthy: bool) -> bool:
        """Whether it was taken; false where the proxy is not connected, or is registered by no WorkloadGroup."""
        target = f"/api/health?{urlencode({'proxyID': proxy_id, 'healthy': str(healthy).lower()})}"
        return (await self._send(Request("PUT", target), _SOON)).status == 204

    async def problems(self) -> tuple[ProblemView, ...]:
        return (await self._ask("/api/problems")).read(tuple[ProblemView, ...])

    async def version(self) -> str:
        answer = await self._ask("/version")
        return answer.body.decode(errors="replace").strip() if answer.status == 200 else ""

    async def envoys(self) -> list[str]:
        """The version of each that is connected."""
        return [each.version for each in (await self._ask("/debug/adsz")).read(Connected).clients]

    async def identity(self) -> IdentityView:
        """What signs certificates."""
        return (await self._ask("/api/identity")).read(IdentityView)

    async def owners(self, trace: bytes) -> tuple[OwnerView, ...]:
        """Whose the steps of a way are (`explain.wire`); it knows no lines."""
        request = Request("POST", "/api/owners", trace)
        return (await self._send(request, _SOON)).read(tuple[OwnerView, ...])

    async def syncs(self) -> tuple[SyncView, ...]:
        return (await self._ask("/api/syncs")).read(tuple[SyncView, ...])

    async def names(self, proxy_id: str, known: str, wait: float) -> NameTable | None:
        """As soon as their version is another than `known`; None if it stays the same for `wait` seconds."""
        answer = await self._ask("/api/names", wait + _SOON, proxyID=proxy_id, version=known, wait=f"{wait:g}")
        found = None if answer.status == 304 else answer.read(NameTable)
        if found is not None and not found.version:
            raise AnswerError("a table of names without a version")
        return found

    async def _ask(self, path: str, timeout: float = _SOON, **query: str) -> Answer:
        target = f"{path}?{urlencode(query)}" if query else path
        return await self._send(Request("GET", target), timeout)

    async def _send(self, request: Request, timeout: float) -> Answer:
        async with asyncio.timeout(timeout):
            family, address = await resolve(self._address.host, self._address.port)
            return await loop.ask(self._open(family), address, request, timeout)
