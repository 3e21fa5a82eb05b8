"""Pods that started without their rules, as they were made before the plugin was in place: found, and put right.

A pod's network namespace is the one that has its address: the plugin was not called, and nothing else tells of it here.
Rules set twice are set once, so that nobody has to know who comes first.
"""

from __future__ import annotations

import asyncio
import logging
from enum import StrEnum
from pathlib import Path
from typing import Final

from pilotfish.cluster.paths import item
from pilotfish.cni.pod import NodePod, find_broken, find_capture
from pilotfish.model.kinds import POD
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.errors import ApiError
from pilotfish.runtime.cni.captures import Captures
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.addresses import find_addresses
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.thread import in_thread

_log = logging.getLogger(__name__)
_NAMESPACES: Final = Path("/var/run/netns")
"""Where container runtimes keep those of pods."""


class Way(StrEnum):
    RULES = "rules"
    """Set the rules in the pod that waits for them."""
    DELETE = "delete"
    """Delete the pod: who made it makes another."""
    OFF = "off"


class Repair:
    def __init__(self, way: Way, api: Api, captures: Captures) -> None:
        self._way = way
        self._api = api
        self._captures = captures
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._given_up: set[str] = set()
        """Uids of those of which it was said."""

    def see(self, pod: NodePod) -> None:
        """As the API server has it now."""
        uid, broken = pod.metadata.uid, find_broken(pod)
        if not broken or self._way is Way.OFF or uid in self._under_way:
            return
        if broken == "waits" and self._way is Way.RULES and uid in self._captures.done.values():
            return
        task = asyncio.get_running_loop().create_task(self._repair(pod, broken == "failed"))
        self._under_way[uid] = task
        task.add_done_callback(lambda _: self._under_way.pop(uid, None))

    async def close(self) -> None:
        tasks = tuple(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _repair(self, pod: NodePod, failed: bool) -> None:
        try:
            if self._way is Way.DELETE:
                await self._delete(pod)
            elif failed:
                self._give_up(pod, "it is not started again; delete it")
            else:
                await self._set_rules(pod)
        except (MachineError, ValueError) as error:
            self._give_up(pod, str(error))

    async def _set_rules(self, pod: NodePod) -> None:
        spec = find_capture(pod)
        netns = await in_thread(lambda: find_namespace(frozenset(pod.addresses)))
        if spec is None or netns is None:
            self._give_up(pod, f"no network namespace in {_NAMESPACES} has its address {pod.addresses[0]}")
            return
        await self._captures.capture(pod, spec, netns)
        self._captures.done[str(netns.path)] = pod.metadata.uid
        _log.info("repaired %s, which had started without its rules", pod)

    async def _delete(self, pod: NodePod) -> None:
        # Nobody else's of the same name, which may be there by now.
        options = {"preconditions": {"uid": pod.metadata.uid}}
        try:
            await self._api.send("DELETE", item(POD, pod.metadata.namespace, pod.metadata.name), options)
        except ApiError as error:
            if error.code not in (404, 409):
                raise
        _log.info("deleted %s, which had started without its rules", pod)

    def _give_up(self, pod: NodePod, why: str) -> None:
        if pod.metadata.uid not in self._given_up:
            self._given_up.add(pod.metadata.uid)
            _log.warning("%s runs without its rules, and is not repaired: %s", pod, why)


def find_namespace(addresses: frozenset[str], directory: Path = _NAMESPACES) -> NetNs | None:
    """The one that has them all. It may block."""
    try:
        paths = tuple(directory.iterdir())
    except FileNotFoundError:
        return None
    for path in paths:
        try:
            with NetNs(path).entered():
                found = find_addresses()
        except (MachineError, OSError):
            continue  # it ends
        if addresses <= set(found):
            return NetNs(path)
    return None
