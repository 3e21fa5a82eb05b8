"""What the plugin is asked, done: which pod it is, whether the mesh has it, its rules."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container
from pathlib import Path
from typing import Final

import msgspec

from pilotfish.capture import CaptureSpec
from pilotfish.cluster.paths import item
from pilotfish.cni.pod import NodePod, find_capture
from pilotfish.cni.request import Answer, Code, Request, fail, succeed
from pilotfish.model.kinds import POD
from pilotfish.runtime import capture
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.errors import ApiError, Unreachable
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.netns import NetNs

_log = logging.getLogger(__name__)
_PATIENCE: Final = 60.0
"""Seconds for which an API server that is away is asked again; then the runtime is to come again."""
_AGAIN: Final = 1.0
_NOT_FOUND: Final = 404
_POD: Final = msgspec.json.Decoder(NodePod)


class Captures:
    """Of one node."""

    def __init__(self, api: Api, excluded: Container[str]) -> None:
        """`excluded`: namespaces without pods of the mesh."""
        self.done: dict[str, str] = {}
        """What the plugin has captured: the pod's uid, by the network namespace."""
        self._api = api
        self._excluded = excluded

    async def handle(self, request: Request) -> Answer:
        """MachineError if it can't be done."""
        match request.command:
            case "ADD":
                return await self._add(request)
            case "CHECK":
                return await self._check(request)
            case "DEL":
                self.done.pop(request.netns, None)
        return succeed(request)

    async def _add(self, request: Request) -> Answer:
        found = await self._find(request)
        if isinstance(found, Answer):
            return found
        pod, spec = found
        await self.capture(pod, spec, NetNs(Path(request.netns)))
        self.done[request.netns] = pod.metadata.uid
        return succeed(request)

    async def _check(self, request: Request) -> Answer:
        found = await self._find(request)
        if isinstance(found, Answer):
            return found
        drifts = await capture.verify(NetNs(Path(request.netns)), found[1])
        if not drifts:
            return succeed(request)
        said = "; ".join(map(str, drifts))
        return fail(request.version, Code.INTERNAL, f"the pod's rules are not what they should be: {said}")

    async def capture(self, pod: NodePod, spec: CaptureSpec, netns: NetNs) -> None:
        used = await capture.apply(netns, spec)
        _log.info("captured %s by %s", pod, used)

    async def _find(self, request: Request) -> tuple[NodePod, CaptureSpec] | Answer:
        """The pod and what is to be captured; or the answer, for who needs nothing."""
        if not request.pod or request.namespace in self._excluded:
            return succeed(request)
        pod = await self._get(request.namespace, request.pod)
        try:
            spec = None if pod is None else find_capture(pod)
        except ValueError as error:
            what = "the flags of the pod's container istio-validation say nothing that can be captured"
            return fail(request.version, Code.INVALID_CONFIG, what, str(error))
        return succeed(request) if pod is None or spec is None else (pod, spec)

    async def _get(self, namespace: str, name: str) -> NodePod | None:
        """None for a pod that is gone: its sandbox goes, too."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE
        while True:
            try:
                return _POD.decode(await self._api.read(item(POD, namespace, name)))
            except ApiError as error:
                if error.code == _NOT_FOUND:
                    return None
                raise
            except msgspec.ValidationError as error:
                raise MachineError(f"pod {namespace}/{name} can't be read: {error}") from error
            except Unreachable as error:
                if loop.time() >= until:
                    raise
                _log.warning("%s/%s waits: %s", namespace, name, error)
                await asyncio.sleep(_AGAIN)
