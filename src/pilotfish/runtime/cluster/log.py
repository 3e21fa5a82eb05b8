"""A container's log, by the API server, as it comes.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-read-log-of-the-specified-pod
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from pilotfish.cluster.paths import item
from pilotfish.model.kinds import POD
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.background import Background
from pilotfish.runtime.cluster.errors import ApiError, Unreachable

_MOST: Final = 64 * 2**20
"""Bytes that wait for who prints them."""
_AGAIN: Final = 1.0
"""Seconds until a container that has ended is looked for again."""
_NOT_YET: Final = (400, 404)
"""What the API server says of a container that is not started, or just was."""


def log_path(namespace: str, pod: str) -> str:
    return item(POD, namespace, pod, "log")


def log_params(
    container: str,
    *,
    lines: int | None = None,
    since: float | None = None,
    previous: bool = False,
    timestamps: bool = False,
) -> dict[str, Any]:
    """The query of a log. `since`: seconds since the epoch; a part of one is not told apart there."""
    params: dict[str, Any] = {"container": container, "timestamps": timestamps}
    if previous:
        params["previous"] = True
    if lines is not None:
        params["tailLines"] = lines
    if since is not None:
        params["sinceTime"] = f"{datetime.fromtimestamp(since, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return params


class Lines:
    """What is new in a log that is asked for again and again, each line behind its time: what was there before is not
    given a second time. Pure."""

    def __init__(self, timestamps: bool) -> None:
        """`timestamps`: they are to stay."""
        self._timestamps = timestamps
        self._rest = b""
        self._last = (b"", b"")
        self._known = self._last
        """The time of the last line before the log was asked for again."""

    def add(self, piece: bytes) -> bytes:
        *whole, self._rest = (self._rest + piece).split(b"\n")
        return b"".join(self._new(line + b"\n") for line in whole)

    def begin_again(self) -> bytes:
        """The end of what was read so far."""
        rest, self._rest = self._rest, b""
        found = self._new(rest) if rest else b""
        self._known = self._last
        return found

    @property
    def since(self) -> str:
        """The second of the last line; "" where there is none."""
        return f"{self._last[0].decode()}Z" if self._last[0] else ""

    def _new(self, line: bytes) -> bytes:
        moment, _, text = line.partition(b" ")
        seconds, _, part = moment.rstrip(b"Z").partition(b".")
        time = seconds, part.ljust(9, b"0")  # as many digits as it takes are written
        if time <= self._known:
            return b""
        self._last = max(time, self._last)
        return line if self._timestamps else text


class WholeLog:
    """All of a log, as it is now."""

    is_over = True

    def __init__(self, ask: Callable[[], bytes]) -> None:
        self._ask: Callable[[], bytes] | None = ask
        self.is_empty = True

    def read(self) -> bytes:
        content = self._ask() if self._ask is not None else b""
        self._ask = None
        self.is_empty = self.is_empty and not content
        return content

    def close(self) -> None:
        pass


class FollowedLog:
    """A log that is read in the background, through the container's restarts, until its pod is gone or completed."""

    def __init__(
        self,
        background: Background,
        api: Api,
        path: str,
        params: dict[str, Any],
        is_over: Callable[[], Awaitable[bool]],
    ) -> None:
        """`is_over`: asked once the container has ended, whether no other comes in its place."""
        self._background = background
        self._api = api
        self._path = path
        self._params: dict[str, Any] = {**params, "follow": True, "timestamps": True}
        self._is_over = is_over
        self._lines = Lines(bool(params.get("timestamps")))
        self._pieces: list[bytes] = []
        self._lock = threading.Lock()
        self._waiting = 0
        self._size = 0
        self._error: Exception | None = None
        self._began = threading.Event()
        self._ended = False
        self._task = background.start(self._follow())

    def read(self) -> bytes:
        """What is new; the first time, when the server has begun to answer. Raises what it refused."""
        self._began.wait(_AGAIN)
        with self._lock:
            pieces, self._pieces, self._waiting = self._pieces, [], 0
        if self._error is not None and not pieces:
            raise self._error
        return b"".join(pieces)

    @property
    def is_empty(self) -> bool:
        return self._size == 0

    @property
    def is_over(self) -> bool:
        return self._ended and self._error is None

    def close(self) -> None:
        self._background.cancel(self._task)

    async def _follow(self) -> None:
        try:
            while True:
                await self._read_once()
                await self._keep(self._lines.begin_again())
                self._began.set()
                if await self._is_over():
                    return
                if self._lines.since:
                    self._params["sinceTime"] = self._lines.since
                    self._params.pop("tailLines", None)
                await asyncio.sleep(_AGAIN)
        except Exception as error:
            self._error = error
        finally:
            self._ended = True
            self._began.set()

    async def _read_once(self) -> None:
        try:
            async for piece in self._api.pieces(self._path, **self._params):
                await self._keep(self._lines.add(piece))
        except ApiError as error:
            if error.code not in _NOT_YET:
                raise
        except Unreachable:
            if self._size == 0:
                raise  # else it broke off, and is taken up again

    async def _keep(self, piece: bytes) -> None:
        while self._waiting > _MOST:
            await asyncio.sleep(0.05)  # whoever prints is slower
        if piece:
            with self._lock:
                self._pieces.append(piece)
                self._waiting += len(piece)
            self._size += len(piece)
            self._began.set()
