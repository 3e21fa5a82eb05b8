"""One proxy's connection: drives its `Stream`, writes what that asks for.

No task waits while nothing is to be done: a connection at rest costs no more than its stream.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pilotfish.ads import Accepted, Effect, Refused, Request, Send, Shared, Stream
from pilotfish.ads.wire import Payload
from pilotfish.envoy.values import ResourceSet
from pilotfish.model import Proxy

_log = logging.getLogger(__name__)
_WRITE_LIMIT = 20.0
"""Seconds for one write. A proxy that does not read would else keep others from being written to."""


@dataclass(slots=True)
class Wiring:
    """What connections have in common, and whom they tell."""

    on_accepted: Callable[[Connection, Accepted], None]
    on_refused: Callable[[Connection, Refused], None]
    on_sent: Callable[[Connection, Payload, int], None]
    """With the number of bytes."""
    on_settled: Callable[[Connection, bool], None]
    """When the proxy comes to have, and to have acknowledged, all that it should; and when it no longer does."""
    shared: Shared = field(default_factory=Shared)
    writes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(32))
    """A response's bytes exist while it is written: this bounds memory."""


class Connection:
    def __init__(
        self,
        id: str,
        proxy: Proxy,
        wiring: Wiring,
        write: Callable[[bytes], Awaitable[None]],
        close: Callable[[], None],
        *,
        delta: bool,
        version: str = "",
        peer: str = "",
    ) -> None:
        """`write` sends one message; `close` ends the connection."""
        self.id = id
        self.proxy = proxy
        self.version = version
        """Envoy's."""
        self.peer = peer
        self.delta = delta
        self.connected_at = time.time()
        self.stream = Stream(wiring.shared, delta=delta)
        self._wiring = wiring
        self._write = write
        self._close = close
        self._loop = asyncio.get_running_loop()
        self._due: deque[Payload] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._settled = True

    def update(self, resources: ResourceSet) -> None:
        """The proxy should have these from now on."""
        if resources != self.stream.resources:
            self._perform(self.stream.update(resources, self._loop.time()))

    def receive(self, request: Request) -> None:
        self._perform(self.stream.receive(request, self._loop.time()))

    def end(self) -> None:
        """Nothing is written any more."""
        self._closed = True
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            self._writing.cancel()

    @property
    def is_writing(self) -> bool:
        return self._writing is not None

    def _tick(self) -> None:
        self._perform(self.stream.tick(self._loop.time()))

    def _perform(self, effects: tuple[Effect, ...]) -> None:
        if self._closed:
            return
        # Responses first: telling others may lead to an update of this very stream, whose responses come later.
        self._due.extend(effect.payload for effect in effects if isinstance(effect, Send))
        if self._due and self._writing is None:
            self._writing = self._loop.create_task(self._write_all())
        self._set_timer()
        for effect in effects:
            match effect:
                case Accepted():
                    self._wiring.on_accepted(self, effect)
                case Refused():
                    self._wiring.on_refused(self, effect)
                case Send():
                    pass
        if self._settled is not (settled := self.stream.settled):
            self._settled = settled
            self._wiring.on_settled(self, settled)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.stream.wake_at is not None:
            self._timer = self._loop.call_at(self.stream.wake_at, self._tick)

    async def _write_all(self) -> None:
        try:
            while self._due:
                await self._write_one(self._due.popleft())
        except TimeoutError:
            _log.warning("%s did not read what it was sent for %g s and is disconnected", self.id, _WRITE_LIMIT)
            self._close()
        except Exception as error:
            # The transport's own exceptions: the connection is gone, which its reader learns, too.
            _log.info("%s: a response could not be written: %s", self.id, error)
            self._close()
        finally:
            self._writing = None

    async def _write_one(self, payload: Payload) -> None:
        async with self._wiring.writes, asyncio.timeout(_WRITE_LIMIT):
            body = payload.encode()
            await self._write(body)
        self._wiring.on_sent(self, payload, len(body))
