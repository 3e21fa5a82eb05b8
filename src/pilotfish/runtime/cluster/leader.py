"""One of several replicas leads, and does what one alone is to do.

    Lease ◀─ every 2 s ─▶ Candidate ─leads─▶ duties run
                              └─ not granted in time ─▶ they are cancelled, before another may lead

What it may still have asked the API server for then can't be taken back; nothing else is asked: `Acting` looks at the
clock before each request that changes anything.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

from pilotfish.cluster.lease import Candidate, Lease, Terms, micro_time
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.errors import ApiError
from pilotfish.runtime.errors import MachineError

_log = logging.getLogger(__name__)
_LAST: Final = 2.0
"""Seconds in which a process that ends lets go of the Lease."""
TERMS: Final = Terms()
_AGAIN: Final = (1.0, 30.0)
"""Seconds until a duty that failed is taken up again: at first, and at the most."""


class NotLeadingError(Exception):
    """Another replica leads by now, or may do so at any moment."""


class Acting:
    """The API server, for who leads."""

    def __init__(self, api: Api, leads: Callable[[], bool]) -> None:
        self.api = api
        """To read with."""
        self._leads = leads

    async def send(self, method: str, path: str, body: object = None, **more: Any) -> Any:
        """As `Api.send`. Raises NotLeadingError."""
        if not self._leads():
            raise NotLeadingError
        return await self.api.send(method, path, body, **more)


Duty: TypeAlias = Callable[[Acting], Awaitable[None]]
"""Runs for as long as this replica leads, and is cancelled then. One that fails is begun again."""


@asynccontextmanager
async def beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """These run until the block ends; none of them raises."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Leader:
    def __init__(
        self,
        api: Api,
        path: str,
        duties: Mapping[str, Duty],
        *,
        me: str,
        labels: Mapping[str, str] = {},
        terms: Terms = TERMS,
    ) -> None:
        """`path`: of the Lease. `duties`: by their names. `me`: of this replica, such as its pod's name."""
        self.trouble = ""
        """Why the Lease could not be had the last time; "" where it could, or is another's."""
        self._api = api
        self._path = path
        self._duties = duties
        self._labels = labels
        self._terms = terms
        # No name is used twice, as a process that comes after another can't know what that one still has under way.
        self._candidate = Candidate(f"{me}_{uuid.uuid4().hex[:8]}", terms)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._watchdog: asyncio.TimerHandle | None = None

    @property
    def leads(self) -> bool:
        return self._candidate.leads(_now())

    @property
    def holder(self) -> str:
        """Who leads, as far as is known; "" for nobody."""
        return self._candidate.seen.holder if self._candidate.seen is not None else ""

    async def run(self) -> None:
        """Until it is cancelled; then another need not wait."""
        try:
            while True:
                await self._attempt()
                self._look()
                # Those who wait for the Lease are not to come all at once.
                pause = self._terms.retry * (1.0 if self.leads else random.uniform(1.0, 2.2))
                await asyncio.sleep(pause)
        finally:
            await self._resign()

    async def _attempt(self) -> None:
        """Take the Lease, or renew it, if it is this replica's to take."""
        try:
            if not self.leads:
                self._candidate = self._candidate.observe(await self._read(), _now())
            began = _now()
            wanted = self._candidate.wanted(began, micro_time(time.time()))
            if wanted is not None:
                written = await self._write(wanted)
                self._candidate = self._candidate.won(written, began, _now())
        except ApiError as error:
            if error.code == 409:
                await self._concede()
            else:
                self._note(str(error))
        except MachineError as error:
            self._note(str(error))
        except Exception as error:  # a bug; discovery is to go on serving
            _log.exception("the Lease can't be had")
            self._note(f"a fault in pilotfish: {error!r}")
        else:
            self._note("")

    async def _concede(self) -> None:
        """Somebody else has written it."""
        try:
            self._candidate = self._candidate.observe(await self._read(), _now())
        except MachineError as error:
            self._note(str(error))

    async def _read(self) -> Lease:
        try:
            return Lease.read(await self._api.get(self._path, timeout=self._patience))
        except ApiError as error:
            if error.code != 404:
                raise
            return Lease()

    async def _write(self, lease: Lease) -> Lease:
        *_, namespace, _, name = self._path.split("/")
        document = lease.document(namespace, name, self._labels)
        collection = self._path.rpartition("/")[0]
        method, path = ("PUT", self._path) if lease.version else ("POST", collection)
        return Lease.read(await self._api.send(method, path, document, timeout=self._patience))

    @property
    def _patience(self) -> float:
        return self._terms.deadline / 2

    def _note(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            _log.warning("who leads can't be told: %s", trouble)
        self.trouble = trouble

    def _look(self) -> None:
        """Begin, or end, what a leader does."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        left = self._candidate.leads_until - _now()
        if left > 0:
            self._watchdog = asyncio.get_running_loop().call_later(left, self._look)
            self._begin()
        elif self._running:
            _log.warning("this replica leads no longer")
            for task in self._running.values():
                task.cancel()
            self._running = {}

    def _begin(self) -> None:
        if not self._running:
            _log.info("this replica leads: %s", self._candidate.me)
            acting = Acting(self._api, lambda: self.leads)
            self._running = {
                name: asyncio.create_task(self._keep_up(name, duty, acting), name=name)
                for name, duty in self._duties.items()
            }

    async def _keep_up(self, name: str, duty: Duty, acting: Acting) -> None:
        first, most = _AGAIN
        pause = first
        while True:
            began = time.monotonic()
            try:
                await duty(acting)
                return
            except NotLeadingError:
                return
            except MachineError as error:
                _log.warning("%s: %s", name, error)
            except Exception:
                _log.exception("%s fails", name)
            pause = first if time.monotonic() - began > most else min(2 * pause, most)
            await asyncio.sleep(pause)

    async def _resign(self) -> None:
        """All that a leader does ends first."""
        running, self._running = list(self._running.values()), {}
        for task in running:
            task.cancel()
        if self._watchdog is not None:
            self._watchdog.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        leads = self.leads
        self._candidate, lease = self._candidate.resigned(micro_time(time.time()))
        if leads and lease is not None:
            try:
                async with asyncio.timeout(_LAST):
                    await self._write(lease)
            except (MachineError, TimeoutError) as error:
                _log.info("the Lease was not let go, and so runs out by itself: %s", error)


def _now() -> float:
    """Goes on while the machine sleeps, as those of others do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
