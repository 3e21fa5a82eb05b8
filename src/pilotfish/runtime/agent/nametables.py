"""Name tables from discovery: one long poll for all agents that are told the same, and one table in memory.

What a workload is told depends on its namespace, and on its labels where a Sidecar selects by these.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import MutableMapping
from weakref import WeakValueDictionary

from pilotfish.model import Proxy
from pilotfish.model.names import NameTable
from pilotfish.runtime.agent.sockets import open_socket, owned_by
from pilotfish.runtime.discovery.client import DiscoveryClient

_WAIT = 30.0
_FIRST_RETRY = 0.1
_LAST_RETRY = 2.0


_Audience = tuple[str, str, frozenset[tuple[str, str]]]
"""(where discovery is, namespace, labels)."""


def _audience(monitoring: str, proxy: Proxy) -> _Audience:
    return monitoring, proxy.namespace, frozenset(proxy.labels.items())


class NameTables:
    """The sources of all agents of this process."""

    def __init__(self, owner: int | None) -> None:
        self._owner = owner
        self._sources: dict[_Audience, NameSource] = {}
        self._tables: MutableMapping[str, NameTable] = WeakValueDictionary()
        """By version: most workloads see the same."""

    def subscribe(self, monitoring: str, proxy: Proxy) -> NameSource:
        key = _audience(monitoring, proxy)
        if key not in self._sources:
            self._sources[key] = NameSource(self.client(monitoring), self._tables)
        self._sources[key].add(proxy.id)
        return self._sources[key]

    def client(self, monitoring: str) -> DiscoveryClient:
        return DiscoveryClient(monitoring, self._socket)

    def unsubscribe(self, monitoring: str, proxy: Proxy) -> None:
        key = _audience(monitoring, proxy)
        source = self._sources.get(key)
        if source and source.remove(proxy.id):
            del self._sources[key]

    async def close(self) -> None:
        for source in self._sources.values():
            await source.close()
        self._sources.clear()

    def _socket(self, family: int) -> socket.socket:
        with owned_by(self._owner):
            return open_socket(None, family)


class NameSource:
    """One audience's table, followed as long as it has a subscriber."""

    def __init__(self, discovery: DiscoveryClient, tables: MutableMapping[str, NameTable]) -> None:
        self.table = NameTable()
        self.loaded = asyncio.Event()
        """Set with the first table."""
        self._discovery = discovery
        self._tables = tables
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
            except OSError:
                # The last table stays. Perhaps discovery does not know this proxy; it may know the next one.
                self._proxies.append(self._proxies.pop(0))
                await asyncio.sleep(delay)
                delay = min(_LAST_RETRY, delay * 2)

    async def _poll(self) -> None:
        found = await self._discovery.names(self._proxies[0], self.table.version, _WAIT)
        if found is not None:
            self.table = self._tables.setdefault(found.version, found)
            self.loaded.set()
