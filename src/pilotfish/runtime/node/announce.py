"""What the node tells discovery: `config/objects.json`, and whether the proxies know it by now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from pilotfish.model import ObjectRef
from pilotfish.node.document import PodRecord, render_list
from pilotfish.node.store import Store
from pilotfish.runtime.linux.files import replace_file
from pilotfish.runtime.node.discovery import DiscoveryProcess
from pilotfish.runtime.node.pod import Pod

_WITHDRAWAL = 10.0
"""Seconds that the proxies get to learn that a pod leaves: enough for a discovery that has to be started again."""
_RECOUNT = 1.0
"""Seconds until those that are to learn it are counted anew, as one of them may have ended."""
_LOOK = 5.0
"""Seconds between looks at what discovery says when nothing changes here."""


class Announcer:
    def __init__(
        self, path: Path, discovery: DiscoveryProcess, on_change: Callable[[], None], proxies: Callable[[], int]
    ) -> None:
        """`on_change` is called when what discovery says of proxies or problems becomes another; `proxies` counts the
        ready ones."""
        self.version = 0
        self.synced_version = -1
        self._path = path
        self._discovery = discovery
        self._on_change = on_change
        self._proxies = proxies
        self._loop = asyncio.get_running_loop()
        self._last: bytes = b""
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def synced(self) -> bool:
        """Every connected proxy has acknowledged what was last written."""
        return self.synced_version == self.version

    def announce(self, store: Store, cluster_ips: Mapping[ObjectRef, str], pods: list[PodRecord]) -> None:
        """Write the file if it would be another."""
        items = msgspec.json.encode(render_list(store, cluster_ips, pods))
        if items == self._last:
            return
        self._last = items
        self.version += 1
        head = f'{{"apiVersion":"v1","kind":"List","metadata":{{"resourceVersion":"{self.version}"}},"items":'
        replace_file(self._path, head.encode() + items + b"}\n", 0o600)
        self._moved.set()

    async def wait_withdrawn(self) -> None:
        """Until the proxies know what was last written, though not for long.

        All that are ready, not only those that are connected: after discovery was started again nobody is at first.
        """
        version = self.version
        deadline = self._loop.time() + _WITHDRAWAL
        while (left := deadline - self._loop.time()) > 0:
            if await self._discovery.wait_synced(version, min(left, _RECOUNT), self._proxies()):
                return
            await asyncio.sleep(0.05)  # discovery is being restarted: its port announces nothing

    def look(self) -> None:
        """A proxy may have come or gone: what discovery says of it may change without anything written here."""
        self._moved.set()

    def start(self) -> None:
        self._task = self._loop.create_task(self._watch())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        seen: object = None
        while True:
            self._moved.clear()
            version = self.version
            synced = await self._discovery.wait_synced(version, _RECOUNT, self._proxies())
            if synced:
                self.synced_version = version
            said = (version, synced, await self._discovery.syncs(), await self._discovery.problems())
            if said != seen:
                seen = said
                self._on_change()
            try:
                async with asyncio.timeout(_LOOK if synced else 0.2):
                    await self._moved.wait()
            except TimeoutError:
                continue


def record(pod: Pod) -> PodRecord:
    state = pod.state
    return PodRecord(pod.identity, state.phase, state.ready, state.deleted, pod.created_at)
