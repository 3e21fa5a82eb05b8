"""The Envoy behind an agent: the pod's own (`own_envoy`), or its machine's (`runtime.node.node_proxy`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pilotfish.agent.taken import Taken
from pilotfish.runtime.agent.admin import Admin
from pilotfish.runtime.agent.host import AgentHost
from pilotfish.runtime.agent.spec import AgentSpec, AgentStatus


class PodProxy(Protocol):
    """`prepare` and `begin` once, in this order, then `stop` and `close`. Times are `loop.time()`."""

    left_ports: tuple[int, ...]
    """What a pod's own Envoy has, and its agent is to have in the place of an Envoy that is not there."""

    @property
    def admin(self) -> Admin: ...

    @property
    def lack(self) -> str:
        """Why the pod can't prove who it is, for people; "" if it can, or need not."""
        ...

    @property
    def taken(self) -> Taken: ...

    @property
    def epoch(self) -> int:
        """How many times it was started, from 0; -1 before the first."""
        ...

    @property
    def restarts(self) -> int: ...

    @property
    def drained(self) -> bool:
        """No inbound work is left, or there was no more time for it."""
        ...

    @property
    def stopped(self) -> bool: ...

    def describe(self, lacks: str) -> AgentStatus:
        """`lacks`: what is not there yet beside it; "" if nothing, or if nobody was to be asked."""
        ...

    async def prepare(self) -> None:
        """Serves what it will ask for. AgentError if that can't be; what there is then, `close` takes away."""
        ...

    def begin(self) -> None:
        """It is to run from now on."""
        ...

    async def restart(self) -> None:
        """Another Envoy takes over, and the one that serves ends its connections. Returns when the other serves.

        AgentError if that can't be, or was not to be: then the one that served serves on, if it still runs.
        """
        ...

    def drain(self, until: float, earliest: float = 0.0) -> None:
        """Let inbound work finish: until `until` at the most, and no sooner than `earliest`."""
        ...

    def stop(self, deadline: float) -> None:
        """By force at `deadline`."""
        ...

    async def close(self) -> None: ...

    async def scrape(self, timeout: float) -> str:
        """Its metrics, for Prometheus. OSError if it does not answer."""
        ...


MakeProxy = Callable[[AgentSpec, AgentHost, Callable[[], None]], PodProxy]
"""The callable that it is given is to be called whenever something of it became another."""
