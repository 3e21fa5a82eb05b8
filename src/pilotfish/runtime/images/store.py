"""The images that a mesh's containers run: found here, or pulled; kept while somebody runs them."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pilotfish.config.images import Reference
from pilotfish.model import ObjectRef
from pilotfish.node.images import Image, Policy
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.images import podman
from pilotfish.runtime.images.pull import pull

_log = logging.getLogger(__name__)
_FIRST, _LAST = 10.0, 300.0
"""Seconds until a pull that failed is tried again: twice as many each time, as kubelet has it."""
_AT_ONCE = 3
_SAID_EVERY = 5.0
_MEGABYTE = 1e6
Say = Callable[[str], None]


class ImageError(Exception):
    """A container has no image to run. `reason` is kubelet's word."""

    def __init__(self, reason: str, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.remedy = remedy


@dataclass(slots=True)
class _Failure:
    message: str
    until: float
    wait: float


@dataclass(slots=True)
class _Kept:
    name: str
    """A container of podman's, by which it is kept."""
    making: asyncio.Task[None]
    holders: set[ObjectRef] = field(default_factory=set)


_Key = tuple[str, bytes | None]


class Images:
    def __init__(self, mesh: str, say: Say) -> None:
        self._mesh = mesh
        self._say = say
        self._local = _Local()
        self._pulls: dict[_Key, asyncio.Task[None]] = {}
        self._failures: dict[_Key, _Failure] = {}
        self._progress: dict[str, str] = {}
        self._kept: dict[str, _Kept] = {}
        self._times = itertools.count()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._letting_go: asyncio.Task[None] | None = None
        self._used = False
        """podman keeps something, or did."""

    async def get(self, text: str, policy: Policy, credentials: bytes | None, holder: ObjectRef) -> Image:
        """The image called `text`, kept for `holder` until it is released. ImageError where there is none now: to be
        asked again in a while, as it may have been loaded, and a pull is tried anew when its time has come."""
        reference = Reference.parse(text)
        try:
            found = None if policy == "Always" else await self._local.find(reference.local)
            if found is None:
                if policy == "Never":
                    what = f"image {text} is not on this machine, and imagePullPolicy is Never"
                    raise ImageError("ErrImageNeverPull", what, "build it, or run 'pilotfish image load FILE.tar'")
                await self._pull((reference.full, credentials))
                found = await self._local.find((reference.full,))
            if found is None:
                raise ImageError("ErrImagePull", f"image {text} was pulled, and has been removed since")
            await self._keep(found, holder)
        except MachineError as error:
            raise ImageError("ErrImagePull", error.message, error.remedy) from error
        return found

    def progress(self, text: str) -> str:
        """Of a pull that is under way; else ""."""
        return self._progress.get(Reference.parse(text).full, "") if self._progress else ""

    def release(self, holder: ObjectRef) -> None:
        """It runs none of them any more. What nobody runs may be removed, soon."""
        for kept in self._kept.values():
            kept.holders.discard(holder)
        if self._letting_go is None and any(not kept.holders for kept in self._kept.values()):
            self._letting_go = asyncio.ensure_future(self._let_go())

    async def close(self) -> None:
        """No pull goes on, and nothing is kept."""
        tasks = [*self._pulls.values(), *(kept.making for kept in self._kept.values())]
        for task in tasks:
            task.cancel()
        if self._letting_go is not None:
            tasks.append(self._letting_go)
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._used:
            with suppress(MachineError):  # it is not installed, or hangs: then the next sweep does it
                await podman.let_all_go(self._mesh)

    async def _pull(self, key: _Key) -> None:
        """One that is under way is everybody's who wants the same."""
        loop = asyncio.get_running_loop()
        failure = self._failures.get(key)
        if failure is not None and loop.time() < failure.until:
            raise ImageError("ImagePullBackOff", failure.message, _REMEDY)
        task = self._pulls.get(key)
        if task is None:
            task = self._pulls[key] = asyncio.ensure_future(self._fetch(key))
            task.add_done_callback(lambda _: self._pulls.pop(key, None))
        try:
            await asyncio.shield(task)
        except MachineError as error:
            wait = min(failure.wait * 2, _LAST) if failure is not None else _FIRST
            if self._failures.get(key) is failure:
                self._failures[key] = _Failure(error.message, loop.time() + wait, wait)
            raise ImageError("ErrImagePull", error.message, error.remedy or _REMEDY) from error
        self._failures.pop(key, None)

    async def _fetch(self, key: _Key) -> None:
        name, credentials = key
        loop = asyncio.get_running_loop()
        began = said = loop.time()
        size = 0

        def progress(come: int, whole: int) -> None:
            nonlocal said, size
            size = whole
            share = f"{come / _MEGABYTE:.1f} of {whole / _MEGABYTE:.1f} MB"
            self._progress[name] = f"pulling {name}: {share}"
            if loop.time() - said >= _SAID_EVERY:
                said = loop.time()
                self._say(self._progress[name])

        self._progress[name] = f"pulling {name}"
        try:
            async with self._slots:
                self._say(self._progress[name])
                await pull(name, credentials, progress)
        finally:
            self._progress.pop(name, None)
        much = f": {size / _MEGABYTE:.1f} MB" if size else ""
        self._say(f"pulled {name}{much} in {loop.time() - began:.1f} s")

    async def _keep(self, image: Image, holder: ObjectRef) -> None:
        kept = self._kept.get(image.id)
        if kept is None:
            self._used = True
            # A name for each time, as one that is being let go may be wanted again.
            name = f"pilotfish-{self._mesh}-{image.id[:12]}-{next(self._times)}"
            making = asyncio.ensure_future(podman.keep(self._mesh, name, image.id))
            kept = self._kept[image.id] = _Kept(name, making)
        kept.holders.add(holder)
        try:
            await asyncio.shield(kept.making)
        except MachineError:
            if self._kept.get(image.id) is kept:
                del self._kept[image.id]
            raise

    async def _let_go(self) -> None:
        try:
            while unused := {id: kept for id, kept in self._kept.items() if not kept.holders and kept.making.done()}:
                for id in unused:
                    del self._kept[id]
                await podman.let_go([kept.name for kept in unused.values()])
        except MachineError as error:  # `close`, or the sweep, lets them go
            _log.warning("%s", error)
        finally:
            self._letting_go = None


_REMEDY = "correct its name, give imagePullSecrets, or run 'pilotfish image load FILE.tar'"


class _Local:
    """Asks podman once for all who ask at the same time: each run of it is some 50 ms of a processor's."""

    def __init__(self) -> None:
        self._next: tuple[set[str], asyncio.Future[dict[str, Image]]] | None = None
        self._asking: asyncio.Task[None] | None = None

    async def find(self, names: Sequence[str]) -> Image | None:
        """The first that is there, as podman says after this call."""
        if self._next is None:
            self._next = set(), asyncio.get_running_loop().create_future()
        wanted, future = self._next
        wanted.update(names)
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask())
        found = await asyncio.shield(future)
        return next((found[name] for name in names if name in found), None)

    async def _ask(self) -> None:
        try:
            while self._next is not None:
                (names, future), self._next = self._next, None
                try:
                    future.set_result(await podman.find(sorted(names)))
                except Exception as error:
                    future.set_exception(error)
                    future.exception()  # whoever asked may be gone
        finally:
            self._asking = None
