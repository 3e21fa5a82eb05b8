"""Keeps the limits of a machine's proxy (`envoy.node_limits`), as pods come and go and one Envoy follows another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from urllib.parse import urlencode

from pilotfish.envoy.node_limits import NodeLimits
from pilotfish.runtime.agent import Agent

_RETRY = 1.0


class Sharing:
    """`close` it before the agent is stopped."""

    def __init__(self, limits: NodeLimits, agent: Agent, pods: Callable[[], Iterable[str]]) -> None:
        """`pods`: those that it serves now, NAME.NAMESPACE. `look` is to be called when these, or Envoy, changed."""
        self._limits = limits
        self._agent = agent
        self._pods = pods
        self._told: set[str] = set()
        self._pid: int | None = None
        """Of the Envoy that was told."""
        self._changed = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._keep())

    def look(self) -> None:
        self._changed.set()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._tell()
            except OSError:  # it starts, or is being restarted
                await asyncio.sleep(_RETRY)
                self._changed.set()

    async def _tell(self) -> None:
        if not self._agent.ready:
            return
        if self._pid != self._agent.pid:
            self._pid, self._told = self._agent.pid, set()
        pods = set(self._pods())
        for pod in sorted(pods - self._told):
            await self._set(self._limits.runtime_of(pod))
            self._told.add(pod)
        for pod in sorted(self._told - pods):
            await self._set(dict.fromkeys(self._limits.runtime_of(pod), ""))
            self._told.discard(pod)

    async def _set(self, flags: dict[str, str]) -> None:
        """An empty text takes one away. Source: /runtime_modify of
        https://www.envoyproxy.io/docs/envoy/v1.40.0/operations/admin"""
        await self._agent.admin.request("POST", f"/runtime_modify?{urlencode(flags)}")
