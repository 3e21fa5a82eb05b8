"""Follows one collection of the API server for as long as it runs, whatever becomes of the server and the way to it.

    Api ─pages, watch─▶ Reflection ─▶ take(object, its JSON), take(object, None)

Connections that end are made again at once; what fails is tried again after a while that grows to two seconds, as
nothing is to be stale for longer than that once the server is back. What is not there (the kind's CRD), or not allowed,
is looked for more seldom.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pilotfish.cluster.paths import attributes, collection
from pilotfish.cluster.reflection import Ask, Reflection
from pilotfish.cluster.status import Refusal
from pilotfish.model import ObjectRef
from pilotfish.model.kind import Kind
from pilotfish.runtime.cluster.api import LASTS, Api, Param
from pilotfish.runtime.cluster.errors import ApiError, Forbidden, Unreachable, refused
from pilotfish.runtime.errors import MachineError

_log = logging.getLogger(__name__)
_FIRST: Final = 0.1
"""Seconds after a failure until the first new try; twice as many after each more, up to `_LAST`."""
_LAST: Final = 2.0
_SELDOM: Final = 10.0
"""The same where a kind, or a permission, is missing."""
_LIVED: Final = 1.0
"""Seconds after which a watch that ends was not a failure."""
_GONE: Final = 410
_UNSERVED: Final = (400, 405, 422, 500)
"""What servers say that have no lists over watches, or an etcd that is too old for them (500)."""
_ENDS_LIST: Final = "k8s.io/initial-events-end"

Take = Callable[[ObjectRef, bytes | None, str], None]
"""An object, its JSON (None: it is gone), and the version of its API."""


class _Metadata(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    version: str = msgspec.field(name="resourceVersion", default="")


class _Head(msgspec.Struct):
    metadata: _Metadata


class _BookmarkMetadata(msgspec.Struct):
    version: str = msgspec.field(name="resourceVersion", default="")
    annotations: dict[str, str] | None = None


class _Bookmark(msgspec.Struct):
    metadata: _BookmarkMetadata


class _Status(msgspec.Struct):
    code: int = 0
    reason: str = ""
    message: str = ""


_HEAD: Final = msgspec.json.Decoder(_Head)
_BOOKMARK: Final = msgspec.json.Decoder(_Bookmark)


@dataclass(frozen=True, slots=True)
class Collection:
    kind: Kind
    namespace: str = ""
    """"" for all."""
    field_selector: str = ""
    is_optional: bool = False
    """Without the permission to read it all else is of use, and safe."""


@dataclass(frozen=True, slots=True)
class Trouble:
    error: MachineError
    since: float
    """Seconds since the epoch."""


@dataclass(slots=True)
class Served:
    """What one API server turns out to serve."""

    streams: bool = True
    """Lists over watches."""


class Reflector:
    def __init__(
        self,
        api: Api,
        of: Collection,
        served: Served,
        take: Take,
        moved: Callable[[], None],
        lasts: float | None = None,
    ) -> None:
        """`moved` is called when `is_settled` or `trouble` are others. `lasts`: seconds of a watch; None: `LASTS`."""
        self.of = of
        self.trouble: Trouble | None = None
        """Why nothing is told just now."""
        self.is_settled = False
        """All that there is was told once, or it is known that nothing can be."""
        self._api = api
        self._served = served
        self._take = take
        self._moved = moved
        self._lasts = lasts
        self._reflection: Reflection[ObjectRef] = Reflection(served.streams)
        self._version = 0
        """Of those of the kind's API, which one is asked for."""
        self._failures = 0
        self._is_open = False
        """The watch, if there is one."""
        self._was_absent = False

    async def run(self) -> None:
        while True:
            try:
                pause = await self._follow()
            except MachineError as error:
                pause = self._fail(error)
            except Exception as error:  # a bug, and others are to be followed all the same
                fault = MachineError(
                    f"a fault in pilotfish while {self.of.kind.plural} are followed: {error!r}", "its log says more"
                )
                if self.trouble is None or str(self.trouble.error) != str(fault):
                    _log.exception("%s", self.of)
                pause = self._fail(fault)
            await asyncio.sleep(pause)

    async def _follow(self) -> float:
        """One list, or one watch, to its end. Seconds until the next."""
        if not self._served.streams and self._reflection.streams:
            self._reflection.streams_unserved()
        ask = self._reflection.ask()
        if ask is Ask.LIST:
            await self._list()
            return 0.0
        began = asyncio.get_running_loop().time()
        self._is_open = False
        try:
            await self._watch(ask)
        except Unreachable as error:
            if not self._is_open:
                raise
            _log.debug("%s: %s", self.of, error)  # it is said if it can't be had again
        finally:
            lived = asyncio.get_running_loop().time() - began
            if self._is_open and lived >= _LIVED:
                self._failures = 0
        if lived >= _LIVED or self._served.streams is not self._reflection.streams:
            return 0.0
        self._failures += 1
        return self._pause(_LAST)

    async def _list(self) -> None:
        version = ""
        async for page in self._api.pages(self._path(), shape=msgspec.Raw, **self._selectors()):
            version = page.resource_version
            for item in page.items:
                self._see(item)
            await asyncio.sleep(0)
        self._end_list(self._reflection.listed(version))

    async def _watch(self, ask: Ask) -> None:
        params: dict[str, Any] = self._selectors()
        if ask is Ask.STREAM:
            params |= {"sendInitialEvents": True, "resourceVersionMatch": "NotOlderThan"}
        since = self._reflection.version
        lasts = (self._lasts or LASTS) * random.uniform(0.8, 1.2)  # not all at the same time
        try:
            async for event in self._api.watch(
                self._path(), since=since, shape=msgspec.Raw, opened=self._on_open, lasts=lasts, **params
            ):
                self._on_event(event.type, event.object)
        except ApiError as error:
            if not self._reflection.is_listing or error.code not in _UNSERVED:
                raise
            self._served.streams = False

    def _on_open(self) -> None:
        self._is_open = True
        if not self._reflection.is_listing:
            self._recover()

    def _on_event(self, type: str, data: Any) -> None:
        match type:
            case "ADDED" | "MODIFIED":
                self._see(data)
            case "DELETED":
                head = _HEAD.decode(data).metadata
                ref = self.of.kind.ref(head.namespace, head.name)
                if self._reflection.gone(ref, head.version):
                    self._take(ref, None, "")
            case "BOOKMARK":
                mark = _BOOKMARK.decode(data).metadata
                was_listing = self._reflection.is_listing
                gone = self._reflection.bookmark(mark.version, (mark.annotations or {}).get(_ENDS_LIST) == "true")
                if was_listing and not self._reflection.is_listing:
                    self._end_list(gone)
            case _:
                status = msgspec.convert(data, _Status)
                refusal = Refusal(status.code, status.reason, status.message)
                raise refused(attributes("GET", self._path(), watch=True), refusal, self._api.access.origin)

    def _see(self, data: Any) -> None:
        head = _HEAD.decode(data).metadata
        ref = self.of.kind.ref(head.namespace, head.name)
        if self._reflection.seen(ref, head.version):
            self._take(ref, bytes(data), self.of.kind.versions[self._version])

    def _end_list(self, gone: tuple[ObjectRef, ...]) -> None:
        for ref in gone:
            self._take(ref, None, "")
        self._was_absent, self._failures = False, 0
        self._recover()

    def _recover(self) -> None:
        """It is told again, or for the first time."""
        if self.trouble is not None or not self.is_settled:
            self.trouble, self.is_settled = None, True
            self._moved()

    def _fail(self, error: MachineError) -> float:
        """Seconds until the next try."""
        self._failures += 1
        if isinstance(error, ApiError) and error.code == _GONE:
            self._reflection.expired()
            return 0.0 if self._failures < 3 else self._pause(_LAST)
        if isinstance(error, ApiError) and error.code == 404:
            return self._miss()
        since = self.trouble.since if self.trouble is not None else time.time()
        self.trouble = Trouble(error, since)
        if isinstance(error, Forbidden) and self.of.is_optional:
            self.is_settled = True
        self._moved()
        if isinstance(error, ApiError) and error.retry_after is not None:
            return min(error.retry_after, _SELDOM) + self._pause(_FIRST)
        return self._pause(_SELDOM if isinstance(error, Forbidden) else _LAST)

    def _miss(self) -> float:
        """There is no such collection: another version of the API is tried, and then it is waited for."""
        self._version = (self._version + 1) % len(self.of.kind.versions)
        if self._version:
            self._reflection.expired()
            return 0.0
        if self._reflection.version and not self._was_absent:
            # A server that has just started may not know all of its kinds: it is believed the second time.
            self._was_absent = True
            self._reflection.expired()
            return _LAST
        for ref in self._reflection.absent():
            self._take(ref, None, "")
        self._failures = 0
        self._recover()
        return _SELDOM * random.uniform(0.5, 1.0)

    def _pause(self, most: float) -> float:
        return float(min(most, _FIRST * 2 ** min(self._failures, 10)) * random.uniform(0.5, 1.0))

    def _path(self) -> str:
        kind = self.of.kind
        return collection(kind, self.of.namespace, kind.versions[self._version])

    def _selectors(self) -> dict[str, Any]:
        found: dict[str, Param] = {"fieldSelector": self.of.field_selector} if self.of.field_selector else {}
        return found
