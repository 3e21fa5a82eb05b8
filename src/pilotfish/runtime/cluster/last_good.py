"""What outlives a replica of discovery: the objects that Envoy refused, and their last good forms, in a Secret that all
replicas of a revision read and write.

    ControlPlane ─Remember─▶ keep ─merge─▶ PUT, if it is as it was read ─▶ Secret ─watch─▶ learn, in each replica

A replica that starts has it before it serves anybody; one that runs, and never saw a form at work, is told of it. A
Secret, as what is refused may be one.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.metadata
import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from pilotfish.cluster.events import COMPONENT
from pilotfish.config.manifest import Manifest
from pilotfish.discovery.memory import BrokenMemoryError, Remembered, decode, encode, merge
from pilotfish.install.names import Names
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import SECRET
from pilotfish.runtime.cluster.api import APPLY, Api
from pilotfish.runtime.cluster.errors import ApiError
from pilotfish.runtime.cluster.reflector import Collection, Reflector, Served
from pilotfish.runtime.errors import MachineError

_log = logging.getLogger(__name__)
_FILE: Final = "last-good.json"
_MOST: Final = 900_000
"""Bytes: a Secret has a mebibyte at the most."""
_ATTEMPTS: Final = 5
_PACE: Final = 1.0
"""Seconds between two writes."""
_AGAIN: Final = (1.0, 60.0)
"""Seconds until one that failed is tried again: at first, and at the most."""

Manifests = Callable[[], Mapping[ObjectRef, Manifest]]
Learn = Callable[[tuple[Remembered, ...]], None]


class _Stored(msgspec.Struct):
    data: dict[str, str] | None = None


_STORED: Final = msgspec.json.Decoder(_Stored)


class SharedMemory:
    """`open` it, then `run`; `keep` is told what this replica knows, whenever that is something else."""

    def __init__(self, api: Api, names: Names) -> None:
        self._api = api
        self._name = names.last_good
        self._namespace = names.namespace
        self._labels = dict(names.labels)
        self._path = f"/api/v1/namespaces/{names.namespace}/secrets/{names.last_good}"
        self._me = f"{COMPONENT}-{uuid.uuid4().hex[:8]}"
        self._made_by = importlib.metadata.version("pilotfish")
        self._mine: tuple[Remembered, ...] = ()
        self._woken = asyncio.Event()

    async def open(self) -> tuple[Remembered, ...]:
        """What there is. Where it can't be had, what is refused is found anew."""
        try:
            _, stored = await self._read()
        except MachineError as error:
            _log.warning("what Envoy refused before is offered again: %s", error)
            return ()
        return stored

    def keep(self, remembered: tuple[Remembered, ...]) -> None:
        self._mine = remembered
        self._woken.set()

    async def run(self, manifests: Manifests, learn: Learn) -> None:
        """`manifests`: the objects as they are. `learn` is told what others know."""

        def take(ref: ObjectRef, data: bytes | None, version: str) -> None:
            if data is not None:
                learn(self._decode((_STORED.decode(data).data or {}).get(_FILE, "")))
            else:
                self._woken.set()

        of = Collection(SECRET, self._namespace, f"metadata.name={self._name}", is_optional=True)
        reflector = Reflector(self._api, of, Served(), take, lambda: None)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(reflector.run())
            tasks.create_task(self._write_all(manifests))

    async def _write_all(self, manifests: Manifests) -> None:
        first, most = _AGAIN
        pause = first
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self._write(manifests)
                pause = first
                await asyncio.sleep(_PACE)
            except MachineError as error:
                _log.warning("what Envoy refuses is not written down for other replicas: %s", error)
                self._woken.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, most)
            except Exception:  # a bug; discovery is to go on serving
                _log.exception("what Envoy refuses is not written down for other replicas")
                await asyncio.sleep(most)

    async def _write(self, manifests: Manifests) -> None:
        for _ in range(_ATTEMPTS):
            version, stored = await self._read()
            wanted = merge(self._mine, stored, manifests())
            if wanted is stored or not (wanted or version):
                return
            content, too_much = encode(wanted, self._made_by, _MOST)
            if too_much:
                _log.warning("Secret %s has no room for %d objects that Envoy refuses", self._name, len(too_much))
            try:
                await self._send(version, content)
                return
            except ApiError as error:
                if error.code not in (404, 409):
                    raise
        raise MachineError(f"Secret {self._name} is written by others all the time", "see who does")

    async def _send(self, version: str, content: bytes) -> None:
        head = {"name": self._name, "namespace": self._namespace, "labels": self._labels}
        document: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": head | ({"resourceVersion": version} if version else {}),
            "data": {_FILE: base64.b64encode(content).decode()},
        }
        if version:
            await self._api.send("PUT", self._path, document)
        else:
            # Applied, as a role can bound that by the name; by nobody else, so that of two who do it one fails.
            await self._api.send("PATCH", self._path, document, content_type=APPLY, fieldManager=self._me)

    async def _read(self) -> tuple[str, tuple[Remembered, ...]]:
        """With its resourceVersion; "" where there is none."""
        try:
            found = await self._api.get(self._path)
        except ApiError as error:
            if error.code != 404:
                raise
            return "", ()
        return str(found["metadata"]["resourceVersion"]), self._decode((found.get("data") or {}).get(_FILE, ""))

    def _decode(self, data: str) -> tuple[Remembered, ...]:
        """What is no such file is as good as none."""
        try:
            return decode(base64.b64decode(data, validate=True), self._made_by)
        except (ValueError, BrokenMemoryError) as error:
            _log.warning("Secret %s is ignored: %s", self._name, error)
            return ()
