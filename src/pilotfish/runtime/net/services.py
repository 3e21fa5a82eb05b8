"""Services' addresses in the node's kernel, kept as they should be (`pilotfish.servicenet` has the rules).

    refresh() ─▶ frontends ─▶ nft -f: the difference to what the kernel has ─▶ UDP flows of endpoints that went
                                └─ refused: all of it, as one transaction; again after a while

One transaction at a time; what changes meanwhile is merged. A transaction that fails has changed nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pilotfish.model.frontend import Frontends
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.command import run
from pilotfish.runtime.linux.conntrack import forget_udp
from pilotfish.runtime.net.network import MeshNetwork
from pilotfish.servicenet import Flow, render_all, render_changes, stale_flows

_log = logging.getLogger(__name__)
_PATIENCE = 30.0
"""Seconds that nft gets: a second for 5,000 Services of ten endpoints."""
_AGAIN = 5.0
"""Seconds until what failed is tried again, if nothing else is wanted before."""


class ServiceNet:
    def __init__(
        self, network: MeshNetwork, frontends: Callable[[], Awaitable[Frontends]], on_change: Callable[[], None]
    ) -> None:
        """`frontends`: what is wanted at that moment. `on_change` is called whenever `settled` or `failure` may be
        another."""
        self.failure = ""
        """Why the kernel does not have what was last wanted; "" while all is well."""
        self._node = network.node
        self._host = str(network.subnets.host[0])
        self._machine = str(network.subnets.machine)
        self._frontends = frontends
        self._on_change = on_change
        self._held: Frontends | None = None
        """What the kernel has; None while that is not known."""
        self._asked = self._tried = 0
        """How often something else may have been wanted, and up to which of these it was tried."""
        self._moved = asyncio.Event()
        self._waiters: set[asyncio.Future[None]] = set()
        self._task = asyncio.get_running_loop().create_task(self._keep())

    def refresh(self) -> None:
        """Something else is wanted; does not wait."""
        self._asked += 1
        self._moved.set()

    @property
    def held(self) -> Frontends:
        """What the kernel has; none while that is not known."""
        return self._held or {}

    @property
    def settled(self) -> bool:
        """What was last wanted is in force, or could not be (`failure`)."""
        return self._tried == self._asked

    async def wait(self) -> None:
        """Until what is wanted now is settled, or something newer."""
        asked = self._asked
        while self._tried < asked:
            tried = asyncio.get_running_loop().create_future()
            self._waiters.add(tried)
            try:
                await tried
            finally:
                self._waiters.discard(tried)

    async def close(self) -> None:
        """The rules go with the node's namespace."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._tried = self._asked
        self._tell()

    async def _keep(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_AGAIN if self.failure else None):
                    await self._moved.wait()
            except TimeoutError:
                pass
            self._moved.clear()
            asked = self._asked
            await self._bring()
            self._tried = asked
            self._tell()
            self._on_change()

    def _tell(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _bring(self) -> None:
        held, failure = self._held, ""
        try:
            wanted = await self._frontends()
            if held is None or await self._apply(render_changes(held, wanted)):
                # It was never set up, or somebody else has changed it: all anew.
                self._held = None
                failure = await self._apply(render_all(wanted, self._host, self._machine))
            if not failure:
                self._held = wanted
                await self._forget(stale_flows(held or {}, wanted))
        except (MachineError, OSError) as error:
            failure = str(error)
        except Exception as error:
            _log.exception("Services' addresses")
            failure = f"a fault in pilotfish, see node.log: {error!r}"
        if failure and failure != self.failure:
            _log.error("Services' addresses: %s", failure)
        self.failure = failure

    async def _apply(self, text: str) -> str:
        """Why the kernel refused; "" if it did not."""
        if not text:
            return ""
        try:
            async with asyncio.timeout(_PATIENCE):
                completed = await run(("nft", "-f", "-"), text, self._node)
        except TimeoutError:
            return f"nft in network namespace {self._node.name} did not end within {_PATIENCE:g} s"
        if not completed.returncode:
            return ""
        said = completed.stderr.strip() or f"nft ended with exit code {completed.returncode}"
        return f"nft in network namespace {self._node.name}: {said.splitlines()[0]}"

    async def _forget(self, flows: frozenset[Flow]) -> None:
        endpoints: dict[tuple[str, int], list[tuple[str, int]]] = {}
        for flow in flows:
            endpoints.setdefault((flow.address, flow.port), []).append(flow.endpoint)
        for destination, gone in endpoints.items():
            await asyncio.to_thread(forget_udp, self._node, destination, gone)
