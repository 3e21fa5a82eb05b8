"""The way to one proxy: what is to be written, one message after the other, and when to look at its stream again.

No task waits while nothing is to be done: a connection at rest costs no more than its session.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pilotfish.ads.wire import Payload

_log = logging.getLogger(__name__)
_WRITE_LIMIT = 15.0
"""Seconds for one write, and until its turn comes."""
_MOMENT = 0.1
"""Seconds after which a write that is under way counts no longer among those that may be at once."""


@dataclass(slots=True)
class Writing:
    """What connections have in common."""

    on_sent: Callable[[Payload, int], None]
    """With the number of bytes."""
    at_once: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(32))
    """A response's bytes exist while it is written: this bounds memory."""
    late: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))
    """For those that did not read in time: they wait for each other."""


class ProxyConnection:
    def __init__(
        self, id: str, writing: Writing, write: Callable[[bytes], Awaitable[None]], end: Callable[[bool], None]
    ) -> None:
        """`write` sends one message; `end` is called when one could not be sent, and no more will: with true where the
        proxy did not read it in time."""
        self._id = id
        self._writing = writing
        self._write = write
        self._end_stream = end
        self._is_late = False
        """It once took longer to read than others wait for."""
        self._loop = asyncio.get_running_loop()
        self._due: deque[Payload] = deque()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def send(self, payload: Payload) -> None:
        if self._closed:
            return
        self._due.append(payload)
        if self._task is None:
            self._task = self._loop.create_task(self._write_all())

    def wake(self, at: float | None, tick: Callable[[], None]) -> None:
        """Call `tick` at that time of the loop's, and no longer at an earlier one that was named."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if at is None or self._closed else self._loop.call_at(at, tick)

    def end(self) -> None:
        """Nothing is written any more."""
        self._closed = True
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    @property
    def is_writing(self) -> bool:
        return self._task is not None

    async def _write_all(self) -> None:
        try:
            while self._due:
                await self._write_one(self._due.popleft())
        except TimeoutError:
            self._end_stream(True)
        except Exception as error:
            # The transport's own exceptions: the connection is gone, which its reader learns, too.
            _log.info("%s: a response could not be written: %s", self._id, error)
            self._end_stream(False)
        finally:
            self._task = None

    async def _write_one(self, payload: Payload) -> None:
        """Its place among those that are under way is left after a moment, so that who reads slowly, or not at all,
        keeps nobody else from being written to."""
        places = self._writing.late if self._is_late else self._writing.at_once
        async with asyncio.timeout(_WRITE_LIMIT):
            async with places:
                body = payload.encode()
                writing = asyncio.ensure_future(self._write(body))
                writing.add_done_callback(_retrieve)
                await asyncio.wait((writing,), timeout=_MOMENT)
            self._is_late = not writing.done()
            try:
                # It ends with its stream. gRPC never ends a stream of which a write was cancelled.
                await asyncio.shield(writing)
            finally:
                del writing  # where it failed, its exception has this frame
        self._writing.on_sent(payload, len(body))


def _retrieve(writing: asyncio.Future[None]) -> None:
    """Whoever waited for it may be gone, and then nobody asks how it ended."""
    if not writing.cancelled():
        writing.exception()
