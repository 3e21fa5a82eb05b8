"""Services' addresses in the node's kernel, kept as they should be (`pilotfish.servicenet` has the rules).

    want(frontends) ─▶ the newest ─▶ nft -f: the difference to what the kernel has ─▶ UDP flows of endpoints that went
                                       └─ refused: all of it, as one transaction; again after a while

One transaction at a time; what is wanted meanwhile is merged. A transaction that fails has changed nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from pilotfish.model.frontend import Frontends
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.command import run
from pilotfish.runtime.linux.conntrack import forget_udp
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.servicenet import Flow, render_all, render_changes, stale_flows

_log = logging.getLogger(__name__)
_AGAIN = 5.0
"""Seconds until what failed is tried again, if nothing else is wanted before."""


class ServiceNet:
    def __init__(self, node: NetNs, on_change: Callable[[], None]) -> None:
        """`on_change` is called when `failure` becomes another."""
        self.failure = ""
        """Why the kernel does not have what was last wanted; "" while all is well."""
        self._node = node
        self._on_change = on_change
        self._wanted: Frontends = {}
        self._held: Frontends | None = None
        """What the kernel has; None while that is not known."""
        self._asked = self._tried = 0
        """How often something else was wanted, and up to which of these it was tried."""
        self._moved = asyncio.Event()
        self._waiters: set[asyncio.Future[None]] = set()
        self._task = asyncio.get_running_loop().create_task(self._keep())

    def want(self, frontends: Frontends) -> None:
        """From now on; does not wait."""
        self._wanted = frontends
        self._asked += 1
        self._moved.set()

    async def wait(self) -> None:
        """Until what was last wanted is in force, or could not be (`failure`)."""
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
            await self._bring(self._wanted)
            self._tried = asked
            self._tell()

    def _tell(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _bring(self, wanted: Frontends) -> None:
        held, failure = self._held, ""
        try:
            if held is None or await self._apply(render_changes(held, wanted)):
                # It was never set up, or somebody else has changed it: all anew.
                self._held = None
                failure = await self._apply(render_all(wanted))
            if not failure:
                self._held = wanted
                await self._forget(stale_flows(held or {}, wanted))
        except (MachineError, OSError) as error:
            failure = str(error)
        except Exception as error:
            _log.exception("Services' addresses")
            failure = f"a fault in pilotfish, see node.log: {error!r}"
        if failure != self.failure:
            self.failure = failure
            if failure:
                _log.error("Services' addresses: %s", failure)
            self._on_change()

    async def _apply(self, text: str) -> str:
        """Why the kernel refused; "" if it did not."""
        if not text:
            return ""
        completed = await run(("nft", "-f", "-"), text, self._node)
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
