"""The middle of discovery: connections on one side, the mesh on the other, and a push between them.

change() ─▶ Mesh ─▶ push: each connection's resource set ─▶ Stream ─▶ responses
             ▲                                                │
         Quarantine ◀───────────── refused, accepted ◀────────┘
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count

from pilotfish.ads import Accepted, Node, Refused
from pilotfish.ads.order import short
from pilotfish.ads.wire import Payload
from pilotfish.config.desired import DesiredState
from pilotfish.model import ObjectRef, Proxy
from pilotfish.runtime.discovery.connection import Connection, Wiring
from pilotfish.runtime.discovery.mesh import Mesh
from pilotfish.runtime.discovery.metrics import Metrics
from pilotfish.runtime.discovery.notice import Notice
from pilotfish.runtime.discovery.quarantine import Charge, Quarantine

_log = logging.getLogger(__name__)
_TURN = 0.005
"""Seconds of computing after which requests are read again in the middle of a push."""
_COLLECT_AFTER = 5.0
"""Seconds after which what only a proxy that left needed is forgotten: most come back at once."""


class Hub:
    """Implements `quarantine.Court`."""

    def __init__(self, mesh: Mesh, metrics: Metrics) -> None:
        self.mesh = mesh
        self.metrics = metrics
        self.quarantine = Quarantine(self)
        self.connections: dict[str, Connection] = {}
        self.moved = Notice()
        """Wakes whoever waits for a change, an acknowledgement, or a proxy that comes or goes."""
        self.unsettled: dict[str, Connection] = {}
        """Those whose proxies have not acknowledged all that they should have."""
        self._wiring = Wiring(self._on_accepted, self._on_refused, self._on_sent, self._on_settled)
        self._numbers = count(1)
        self._loop = asyncio.get_running_loop()
        self._dirty = asyncio.Event()
        self._pushing = False
        self._changed_at: float | None = None
        """When the change came that the proxies have not all acknowledged yet."""
        self._collecting: asyncio.TimerHandle | None = None

    # Changes

    def change(self, desired: DesiredState, since: float) -> None:
        """The user's objects are these now. `since`: the loop's time at which the change came."""
        refs, moved = self.mesh.apply(desired)
        if refs:
            self.quarantine.changed(refs)
        if moved or refs:
            self._changed_at = since if self._changed_at is None else self._changed_at
            self._dirty.set()
        self.moved.notify()

    async def drain(self, seconds: float) -> None:
        """Until what is being written is written."""
        await self.moved.wait_for(lambda: not any(c.is_writing for c in self.connections.values()), seconds)

    async def run(self) -> None:
        """Push whenever something changed. Changes during a push are merged into the next one."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            self._pushing = True
            await self._push()
            self._pushing = False
            self._settle()

    async def _push(self) -> None:
        turn = self._loop.time() + _TURN
        for connection in tuple(self.connections.values()):
            if connection.id in self.connections:
                with self._isolated(connection):
                    connection.update(self.mesh.resources(connection.proxy))
            if self._loop.time() > turn:
                await asyncio.sleep(0)
                turn = self._loop.time() + _TURN

    @contextmanager
    def _isolated(self, connection: Connection) -> Iterator[None]:
        """What goes wrong with one proxy stays with it."""
        try:
            yield
        except Exception:
            _log.exception("%s: its configuration could not be computed; it keeps the one that it has", connection.id)
            self.metrics.internal_errors.inc()

    @property
    def is_settled(self) -> bool:
        """Every proxy has acknowledged all that follows from the last change."""
        return not self._dirty.is_set() and not self._pushing and self.quarantine.is_idle and not self.unsettled

    def _settle(self) -> None:
        self.moved.notify()
        if not self.connections or not self.is_settled:
            return
        if not any(w.refused for c in self.connections.values() for w in c.stream.watches.values()):
            self.mesh.prove(but=self.quarantine.guilty)
        if self._changed_at is not None:
            self.metrics.convergence.observe(self._loop.time() - self._changed_at)
            self._changed_at = None

    # Proxies

    def join(
        self,
        node: Node,
        proxy: Proxy,
        write: Callable[[bytes], Awaitable[None]],
        close: Callable[[], None],
        *,
        delta: bool,
        peer: str,
    ) -> Connection:
        connection = Connection(
            f"{proxy}-{next(self._numbers)}",
            proxy,
            self._wiring,
            write,
            close,
            delta=delta,
            version=node.version,
            peer=peer,
        )
        connection.update(self.mesh.resources(proxy))
        self.connections[connection.id] = connection
        self.metrics.connected.inc()
        _log.info("%s connected from %s", connection.id, peer)
        return connection

    def leave(self, connection: Connection) -> None:
        connection.end()
        self.unsettled.pop(connection.id, None)
        if self.connections.pop(connection.id, None) is None:
            return
        self.metrics.connected.dec()
        _log.info("%s disconnected", connection.id)
        if not any(other.proxy.id == connection.proxy.id for other in self.connections.values()):
            self.quarantine.left(connection.proxy.id)
        if self._collecting is None:
            self._collecting = self._loop.call_later(_COLLECT_AFTER, self._collect)
        self.moved.notify()

    def find(self, proxy_id: str) -> Connection | None:
        """By node id, by `name.namespace`, or by connection id; the latest connection if there are several."""
        found = [c for c in self.connections.values() if proxy_id in (c.proxy.id, str(c.proxy), c.id)]
        return found[-1] if found else None

    def _collect(self) -> None:
        self._collecting = None
        self.mesh.collect(connection.proxy for connection in self.connections.values())

    # What connections tell

    def _on_accepted(self, connection: Connection, accepted: Accepted) -> None:
        self.metrics.acknowledged(accepted.type_url, accepted.took)
        if not self.quarantine.is_idle:
            for resource in accepted.resources:
                self.quarantine.accepted(resource.type_url, resource.name, resource.version)

    def _on_refused(self, connection: Connection, refused: Refused) -> None:
        self.metrics.refused(refused.type_url)
        names = ", ".join(resource.name for resource in refused.resources) or "a resource that it does not name"
        _log.warning("%s refused %s %s: %s", connection.id, short(refused.type_url), names, refused.message)
        for r in refused.resources:
            charge = Charge(connection.proxy.id, r.type_url, r.name, r.version, self.mesh.owners(r), refused.message)
            self.quarantine.refused(charge)

    def _on_settled(self, connection: Connection, settled: bool) -> None:
        if not settled:
            self.unsettled[connection.id] = connection
            return
        self.unsettled.pop(connection.id, None)
        if not self.unsettled:
            # Not at once: what the quarantine decides on the same occasion comes first.
            self._loop.call_soon(self._settle)

    def _on_sent(self, connection: Connection, payload: Payload, size: int) -> None:
        self.metrics.pushed(payload.type_url, size)
        self._loop.call_soon(self.moved.notify)

    # quarantine.Court

    def leave_out(self, ref: ObjectRef) -> None:
        self.mesh.leave_out(ref)
        self._dirty.set()

    def take_back(self, ref: ObjectRef) -> None:
        self.mesh.take_back(ref)
        self._dirty.set()

    def version(self, proxy: str, type_url: str, name: str) -> str | None:
        connection = self.find(proxy)
        resource = connection and self.mesh.resources(connection.proxy).get(type_url, name)
        return resource.version if resource else None

    def holds(self, proxy: str, type_url: str, name: str) -> str | None:
        connection = self.find(proxy)
        watch = connection.stream.watches.get(type_url) if connection else None
        return watch.proven(name) if watch else None

    def unproven(self) -> dict[ObjectRef, int]:
        return self.mesh.unproven()
