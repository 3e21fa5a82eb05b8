"""What the node tells discovery: `config/objects.json`, and whether the proxies know it by now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from pilotfish.model import ObjectRef
from pilotfish.node.document import PodRecord
from pilotfish.node.listing import ListWriter
from pilotfish.node.store import Store
from pilotfish.runtime.linux.files import replace_file
from pilotfish.runtime.node.discovery import DiscoveryProcess
from pilotfish.runtime.node.faults import Faults
from pilotfish.runtime.node.pod import Pod

_WITHDRAWAL = 10.0
"""Seconds that the proxies get to learn that a pod leaves: enough for a discovery that has to be started again."""
_RECOUNT = 1.0
"""Seconds until those that are to learn it are counted anew, as one of them may have ended."""
_UNTOLD = "discovery is not told of it"
_DRAINING = ("draining", "stopping", "sidecars", "proxy", "removing")
"""Stages of a pod that nobody is to call any more."""
_LOOK = 5.0
"""Seconds between looks at what discovery says when nothing changes here."""


class Announcer:
    def __init__(
        self,
        path: Path,
        discovery: DiscoveryProcess,
        on_change: Callable[[], None],
        proxies: Callable[[], int],
        faults: Faults,
    ) -> None:
        """`on_change` is called when what discovery says of proxies or problems becomes another; `proxies` counts the
        ready ones."""
        self.version = 0
        self.synced_version = -1
        self._path = path
        self._discovery = discovery
        self._on_change = on_change
        self._proxies = proxies
        self._faults = faults
        self._writer = ListWriter()
        self._untold: set[ObjectRef] = set()
        self._said: object = None
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
        rendered = self._writer.write(store, cluster_ips, pods)
        self._note_untold(rendered.failed, store)
        items = rendered.items
        if items == self._last:
            return
        self.version += 1
        head = f'{{"apiVersion":"v1","kind":"List","metadata":{{"resourceVersion":"{self.version}"}},"items":'
        replace_file(self._path, head.encode() + items + b"}\n", 0o600)
        self._last = items  # not before: what a full disk refused is tried again
        self._moved.set()

    def _note_untold(self, failed: Mapping[ObjectRef, Exception], store: Store) -> None:
        for ref in self._untold - failed.keys():
            self._faults.clear(_UNTOLD, ref)
        for ref, error in failed.items():
            stored = store.objects.get(ref)
            self._faults.note(_UNTOLD, error, ref, stored.manifest.source if stored else None)
        self._untold = set(failed)

    async def wait_withdrawn(self) -> None:
        """Until the proxies know what was last written, though not for long: none that does not answer is waited for.

        All that are ready, not only those that are connected: after discovery was started again nobody is at first.
        """
        version = self.version
        deadline = self._loop.time() + _WITHDRAWAL
        while (left := deadline - self._loop.time()) > 0:
            if await self._discovery.wait_told(version, min(left, _RECOUNT), self._proxies()):
                return
            await asyncio.sleep(0.05)  # discovery is being restarted: its port announces nothing

    def look(self) -> None:
        """A proxy, or discovery itself, came or went: what is said of it may change without anything written here."""
        self._moved.set()

    def start(self) -> None:
        self._task = self._loop.create_task(self._watch())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            self._moved.clear()
            synced = False
            with self._faults.isolate("discovery is not asked how far the proxies are"):
                synced = await self._ask()
            try:
                async with asyncio.timeout(_LOOK if synced else 0.2):
                    await self._moved.wait()
            except TimeoutError:
                continue

    async def _ask(self) -> bool:
        version = self.version
        synced = await self._discovery.wait_synced(version, _RECOUNT, self._proxies())
        if synced:
            self.synced_version = version
        elif self.synced_version == version:
            self.synced_version = -1  # what was in step needs not stay so: a proxy may have failed since
        said = (version, synced, await self._discovery.syncs(), await self._discovery.problems())
        if said != self._said:
            self._said = said
            self._on_change()
        return synced


def record(pod: Pod) -> PodRecord:
    state = pod.state
    on_node = pod.sandbox.on_node
    return PodRecord(
        pod.identity,
        state.phase,
        state.ready,
        state.deleted,
        pod.created_at,
        draining=on_node and state.stage in _DRAINING,
        placed=pod.sandbox.is_placed or not on_node,
    )
