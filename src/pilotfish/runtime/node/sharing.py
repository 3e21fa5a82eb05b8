"""Keeps the limits of a machine's proxy (`envoy.node_limits`), as pods come and go and one Envoy follows another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlencode

from pilotfish.envoy.node_limits import NodeLimits
from pilotfish.runtime.agent import Agent

_RETRY = 1.0
_AT_ONCE = 64
"""Pods of one request: its line is at most as long as Envoy takes, 60 KiB, with the longest names that there are."""


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
        changed = sorted(pods ^ self._told)
        for first in range(0, len(changed), _AT_ONCE):
            some = changed[first : first + _AT_ONCE]
            flags: dict[str, str] = {}
            for pod in some:
                limits = self._limits.runtime_of(pod)
                flags |= limits if pod in pods else dict.fromkeys(limits, "")
            await self._set(flags)
            self._told.symmetric_difference_update(some)

    async def _set(self, flags: Mapping[str, str]) -> None:
        """An empty text takes one away. Source: /runtime_modify of
        https://www.envoyproxy.io/docs/envoy/v1.40.0/operations/admin"""
        await self._agent.admin.request("POST", f"/runtime_modify?{urlencode(flags)}")
