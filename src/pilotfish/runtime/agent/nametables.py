"""Name tables from discovery: one long poll for all agents of a namespace, and one table in memory.

GET /debug/ndsz?proxyID=ID&version=V&wait=30 ─▶ {"version": str, "records": {name: [address, ...]}}, or 304
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import aiohttp

from pilotfish.agent.names import NameTable
from pilotfish.model import Proxy
from pilotfish.runtime.agent.sockets import open_socket, owned_by

_WAIT = 30
_FIRST_RETRY = 0.1
_LAST_RETRY = 2.0
_FAILURES = (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError, AttributeError)
"""Discovery is away, is not one, or answers nonsense: the last table stays."""


class NameTables:
    """The sources of all agents of this process."""

    def __init__(self, owner: int | None) -> None:
        self._owner = owner
        self._session: aiohttp.ClientSession | None = None
        self._sources: dict[tuple[str, str], NameSource] = {}

    def subscribe(self, monitoring: str, proxy: Proxy) -> NameSource:
        key = (monitoring, proxy.namespace)
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, socket_factory=self._socket)
            self._session = aiohttp.ClientSession(connector=connector)
        if key not in self._sources:
            self._sources[key] = NameSource(self._session, monitoring)
        self._sources[key].add(proxy.id)
        return self._sources[key]

    def unsubscribe(self, monitoring: str, proxy: Proxy) -> None:
        source = self._sources.get((monitoring, proxy.namespace))
        if source and source.remove(proxy.id):
            del self._sources[(monitoring, proxy.namespace)]

    async def close(self) -> None:
        for source in self._sources.values():
            await source.close()
        self._sources.clear()
        if self._session:
            await self._session.close()

    def _socket(self, address: Any) -> socket.socket:
        family, kind = address[:2]
        with owned_by(self._owner):
            return open_socket(None, family, kind)


class NameSource:
    """One namespace's table, followed as long as it has a subscriber."""

    def __init__(self, session: aiohttp.ClientSession, monitoring: str) -> None:
        self.table = NameTable()
        self.loaded = asyncio.Event()
        """Set with the first table."""
        self._session = session
        self._url = f"http://{monitoring}/debug/ndsz"
        self._proxies: list[str] = []
        self._task = asyncio.get_running_loop().create_task(self._follow())

    def add(self, proxy_id: str) -> None:
        self._proxies.append(proxy_id)

    def remove(self, proxy_id: str) -> bool:
        """True if it was the last one."""
        if proxy_id in self._proxies:
            self._proxies.remove(proxy_id)
        if not self._proxies:
            self._task.cancel()
        return not self._proxies

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _follow(self) -> None:
        delay = _FIRST_RETRY
        while True:
            try:
                await self._poll()
                delay = _FIRST_RETRY
            except _FAILURES:
                # Perhaps discovery does not know this proxy; it may know the next one.
                self._proxies.append(self._proxies.pop(0))
                await asyncio.sleep(delay)
                delay = min(_LAST_RETRY, delay * 2)

    async def _poll(self) -> None:
        query = {"proxyID": self._proxies[0], "version": self.table.version, "wait": str(_WAIT)}
        timeout = aiohttp.ClientTimeout(total=_WAIT + 10)
        async with self._session.get(self._url, params=query, timeout=timeout) as response:
            if response.status == 304:
                return
            response.raise_for_status()
            self.table = _parse(await response.read())
            self.loaded.set()


def _parse(body: bytes) -> NameTable:
    found = json.loads(body)
    records = {name.lower(): tuple(addresses) for name, addresses in found["records"].items()}
    return NameTable(str(found["version"]), records)
