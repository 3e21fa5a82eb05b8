"""The mesh's roots, followed: one stream for all agents of this process that have the same authority."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pilotfish.identity.messages import ROOTS, Roots, decode_roots
from pilotfish.model.renewal import retry_delay
from pilotfish.runtime.agent.authority_client import AuthorityClient
from pilotfish.runtime.agent.spec import AuthoritySpec
from pilotfish.runtime.rpc.client import RpcError

_log = logging.getLogger(__name__)
_UNIMPLEMENTED: Final = 12


class RootsFollower:
    """Followed as long as somebody subscribes."""

    def __init__(self, client: AuthorityClient) -> None:
        self.current: Roots | None = None
        """None until they are known, and where the authority tells none: Istio's does not."""
        self._client = client
        self._subscribers: dict[object, Callable[[], None]] = {}
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, who: object, on_change: Callable[[], None]) -> None:
        self._subscribers[who] = on_change
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._follow())

    def unsubscribe(self, who: object) -> None:
        self._subscribers.pop(who, None)
        if not self._subscribers and self._task is not None:
            self._task.cancel()
            self._task = None

    async def close(self) -> None:
        self._subscribers.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                async for body in self._client.follow(ROOTS):
                    failures = 0
                    self._take(decode_roots(body))
            except RpcError as error:
                if error.code == _UNIMPLEMENTED:
                    return
            except (OSError, ValueError) as error:
                _log.debug("roots are not followed: %s", error)
            failures += 1
            await asyncio.sleep(retry_delay(failures, random.random()))

    def _take(self, roots: Roots) -> None:
        if roots == self.current:
            return
        self.current = roots
        for on_change in tuple(self._subscribers.values()):
            on_change()


class Followers:
    """Of one process."""

    def __init__(self, open_socket: Callable[[int], socket.socket]) -> None:
        """`open_socket` is given the family."""
        self._open = open_socket
        self._of: dict[tuple[str, Path], RootsFollower] = {}

    def of(self, authority: AuthoritySpec) -> RootsFollower:
        client = AuthorityClient(authority, self._open)
        return self._of.setdefault((authority.address, authority.roots), RootsFollower(client))

    async def close(self) -> None:
        await asyncio.gather(*(each.close() for each in self._of.values()))
        self._of.clear()
