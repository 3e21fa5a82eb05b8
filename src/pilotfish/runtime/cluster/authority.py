"""The state of an authority in a Secret, which all replicas of discovery follow: so all sign with the same.

    leader, or who is told to ─change─▶ PUT, if it still is as it was read ─▶ Secret ─watch─▶ adopt, in each replica

What is decided is written first, and in force where it is read. What only time brings, each replica does by its clock
(`identity.succession`): so a root that was made known signs when it is due, though nobody leads then.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
import uuid
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, Final

from pilotfish.cluster.events import COMPONENT
from pilotfish.identity import kept
from pilotfish.identity.authority import make_root
from pilotfish.identity.succession import Succession, change
from pilotfish.install.names import AUTHORITY
from pilotfish.runtime.cluster.api import APPLY, Api
from pilotfish.runtime.cluster.errors import ApiError
from pilotfish.runtime.cluster.leader import Acting
from pilotfish.runtime.discovery.authority_store import Adopt, Change, State
from pilotfish.runtime.errors import MachineError

_log = logging.getLogger(__name__)
_STATE: Final = "authority.json"
_ROOTS: Final = "root-cert.pem"
"""For people."""
_ATTEMPTS: Final = 5
_RETRY: Final = (1.0, 30.0)
_LONGEST: Final = 60.0
"""Seconds between two writes of a leader whose last ones came soon after each other."""


class SharedAuthority:
    """Implements `authority_store.Shared`. `open` it, then `run`; who leads runs `lead` as well."""

    spread = 120.0
    """Agents that run have a new root within a second. The ConfigMap in their volumes, by which they know discovery
    when they connect anew, kubelet renews within a minute or two."""

    def __init__(self, api: Api, namespace: str, labels: Mapping[str, str]) -> None:
        self._api = api
        self.namespace = namespace
        self._labels = dict(labels)
        self._collection = f"/api/v1/namespaces/{namespace}/secrets"
        self._path = f"{self._collection}/{AUTHORITY}"
        self._me = f"{COMPONENT}-{uuid.uuid4().hex[:8]}"
        self._state: State
        self._stored = b""
        self._version = ""
        """"" while there is no such Secret."""
        self._adopt: Adopt = lambda succession, domains: None
        self._woken = asyncio.Event()

    @property
    def state(self) -> State:
        return self._state

    async def rotate(self) -> Succession:
        """A new root of our own, for whoever may write the Secret: the replicas follow it. Raises MachineError."""
        if not await self._read():
            raise MachineError(f"there is no Secret {AUTHORITY} in {self.namespace}", "see whether discovery runs")
        succession, domains = self._state
        if not succession.wanted.is_ours:
            raise MachineError("the authority is plugged in (Secret cacerts)", "change it there, and it is followed")
        root = make_root(domains.current, time.time())
        await self.change(lambda state, named: (change(state, root, time.time(), self.spread), named))
        return self._state[0]

    async def open(self, first: State, adopt: Adopt) -> State:
        self._state = first
        for _ in range(_ATTEMPTS):
            if await self._read():
                break
            if await self._write(self._api, first):
                _log.info("made a certificate authority: Secret %s in %s", AUTHORITY, self.namespace)
                break
        else:
            raise MachineError(f"Secret {AUTHORITY} in {self.namespace} comes and goes", "see who deletes it")
        self._adopt = adopt
        return self._state

    async def change(self, step: Change) -> None:
        await self._change(self._api, step)

    def look(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Follow what others write."""
        first, most = _RETRY
        pause = first
        while True:
            began = time.monotonic()
            try:
                await self._follow()
                if time.monotonic() - began > first:  # the server ends a watch now and then
                    pause = first
                    continue
            except MachineError as error:
                _log.warning("the authority is not followed: %s", error)
            except Exception:  # a bug; what was read last signs on
                _log.exception("the authority is not followed")
            await asyncio.sleep(pause)
            pause = min(2 * pause, most)

    async def lead(self, acting: Acting, chosen: Change) -> None:
        """Write what the user's objects and the time ask for, as `chosen` says."""
        pause, written = 0.0, time.monotonic()
        while True:
            self._woken.clear()
            before = self._version
            await self._change(acting, chosen)
            if before != self._version:
                # Whoever wants something else, such as a revision with another trust domain, is not raced.
                pause = min(_LONGEST, 2 * pause + 0.1) if time.monotonic() - written < _LONGEST else 0.0
                written = time.monotonic()
                await asyncio.sleep(pause)
            await self._woken.wait()

    async def _follow(self) -> None:
        if not await self._read():
            self._lost()
        chosen = f"metadata.name={AUTHORITY}"
        async with aclosing(self._api.watch(self._collection, since=self._version, fieldSelector=chosen)) as events:
            async for event in events:
                match event.type:
                    case "ADDED" | "MODIFIED":
                        self._take(event.object)
                    case "DELETED":
                        self._lost()
                    case "ERROR":
                        return

    async def _change(self, api: Api | Acting, step: Change) -> None:
        for _ in range(_ATTEMPTS):
            state = step(*self._state)
            if self._version and kept.encode(*state) == self._stored:
                return
            if await self._write(api, state):
                return
            await self._read()
        raise MachineError(f"Secret {AUTHORITY} in {self.namespace} is written by others all the time", "see who does")

    async def _read(self) -> bool:
        """False if there is none."""
        try:
            found = await self._api.get(self._path)
        except ApiError as error:
            if error.code != 404:
                raise
            self._version = ""
            return False
        self._take(found)
        return True

    async def _write(self, api: Api | Acting, state: State) -> bool:
        """False if somebody else wrote it since it was read."""
        document = self._document(state)
        try:
            if self._version:
                found = await api.send("PUT", self._path, document)
            else:
                # Applied, as a role can bound that by the name; by nobody else, so that of two who do it one fails.
                found = await api.send("PATCH", self._path, document, content_type=APPLY, fieldManager=self._me)
        except ApiError as error:
            if error.code == 409 or (error.code == 404 and self._version):
                return False
            raise
        self._take(found)
        return True

    def _document(self, state: State) -> dict[str, Any]:
        version = {"resourceVersion": self._version} if self._version else {}
        content = {_STATE: kept.encode(*state), _ROOTS: state[0].trusted}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {"name": AUTHORITY, "namespace": self.namespace, "labels": self._labels, **version},
            "data": {name: base64.b64encode(each).decode() for name, each in content.items()},
        }

    def _take(self, found: Mapping[str, Any]) -> None:
        """Raises MachineError for what is no such state: another root would be trusted by nobody."""
        try:
            stored = base64.b64decode(found["data"][_STATE], validate=True)
            succession, domains = kept.decode(stored)
            if domains is None:
                raise ValueError("it names no trust domain")
            version = str(found["metadata"]["resourceVersion"])
        except (KeyError, TypeError, ValueError) as error:
            raise MachineError(
                f"Secret {AUTHORITY} in {self.namespace} holds no authority",
                "restore it, or delete it for a new root",
            ) from error
        before = self._stored
        self._stored, self._version = stored, version
        if stored != before:
            self._state = succession, domains
            self._adopt(*self._state)
        self._woken.set()

    def _lost(self) -> None:
        _log.warning("Secret %s in %s was deleted; it is written again", AUTHORITY, self.namespace)
        self._version = ""
        self._woken.set()
