"""Writes down the workloads that register themselves, as WorkloadEntries of the cluster.

    ControlPlane.members, the group, what the API server has ─due─▶ POST, PUT, DELETE
    ControlPlane.told, its status ─with_health─▶ PATCH

Each replica does so for the proxies that are connected to it. Who leads takes away what a replica has left behind that
was killed. What is written comes back as an object like any other; nothing is written that stands there already.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pilotfish.cluster.paths import collection, item
from pilotfish.discovery.plane import ControlPlane
from pilotfish.discovery.registration import Member, group_of
from pilotfish.discovery.workload_entries import (
    ORPHANED,
    Create,
    Delete,
    Replace,
    Step,
    abandoned,
    controller,
    delete,
    due,
    with_health,
)
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.runtime.cluster.api import MERGE_PATCH, Api
from pilotfish.runtime.cluster.errors import ApiError
from pilotfish.runtime.cluster.leader import Acting
from pilotfish.runtime.discovery.notice import Notice
from pilotfish.runtime.errors import MachineError

_log = logging.getLogger(__name__)
_GATHER: Final = 0.05
"""Seconds between two looks: what is written has to come back first."""
_AGAIN: Final = (1.0, 30.0)
"""Seconds until what failed is tried again: at first, and at the most."""
_SWEEP: Final = 5.0
"""Seconds between two looks for what a replica has left behind."""
_LAST: Final = 2.0
"""Seconds in which a replica that ends says that its proxies are on their way to others."""
_RACED: Final = (404, 409)
"""Somebody was faster: what there is now is told by what is followed."""


@dataclass(frozen=True, slots=True)
class _Failure:
    error: MachineError
    until: float
    pause: float


class Registrar:
    def __init__(self, api: Api, plane: ControlPlane, moved: Notice, me: str, revision: str) -> None:
        """`me`: how this process is called as a controller. `moved` wakes when there may be something to do."""
        self.me = me
        self._api = api
        self._plane = plane
        self._moved = moved
        self._revision = revision
        self._held: set[ObjectRef] = set()
        """The entries that this replica has written, and has to see to until they are another's, or gone."""
        self._failed: dict[ObjectRef, _Failure] = {}
        self._said = ""
        """Why health was not written the last time."""
        self._alone_since: dict[ObjectRef, float] = {}
        """Since when an entry's controller is nobody who is known."""

    def problems(self) -> Iterator[Problem]:
        for ref, failure in sorted(self._failed.items(), key=lambda each: each[0]):
            text = f"the workload that it stands for is connected, and can't be written down: {failure.error}"
            yield Problem(ref, "", "NotRegistered", text, Severity.WARNING)

    async def run(self) -> None:
        while True:
            seen = self._moved.count
            try:
                await self._look()
                await asyncio.sleep(_GATHER)
            except Exception:  # a bug; discovery is to go on serving
                _log.exception("workloads are not registered")
                await asyncio.sleep(_AGAIN[1])
            wake = min((each.until for each in self._failed.values()), default=None)
            await self._moved.next(None if wake is None else max(0.0, wake - time.monotonic()), since=seen)

    async def let_go(self) -> None:
        """This replica ends, and its proxies have left it."""
        try:
            async with asyncio.timeout(_LAST):
                self._failed = {}
                await self._look()
        except TimeoutError:
            _log.info("who was connected here is not written down: whoever leads will find out")

    async def _look(self) -> None:
        members = {member.entry: member for member in self._plane.members.values()}
        self._failed = {ref: each for ref, each in self._failed.items() if ref in members or ref in self._held}
        for ref in {**members, **dict.fromkeys(sorted(self._held))}:
            failure = self._failed.get(ref)
            if failure is None or failure.until <= time.monotonic():
                await self._guarded(ref, members.get(ref))
        while self._plane.told:
            await self._tell(*self._plane.told.popitem())

    async def _guarded(self, ref: ObjectRef, member: Member | None) -> None:
        try:
            await self._see_to(ref, member)
        except MachineError as error:
            if isinstance(error, ApiError) and error.code in _RACED:
                return
            first, most = _AGAIN
            before = self._failed.get(ref)
            pause = first if before is None else min(2 * before.pause, most)
            if before is None or str(before.error) != str(error):
                _log.warning("%s is not written: %s", ref, error)
            self._failed[ref] = _Failure(error, time.monotonic() + pause, pause)
        else:
            self._failed.pop(ref, None)

    async def _see_to(self, ref: ObjectRef, member: Member | None) -> None:
        """One that this replica has lost is asked for in any case: it may have been told of nothing lately."""
        known = self._plane.mesh.desired.manifests.get(ref)
        if member is not None and self._step(known.document if known is not None else None, member) is None:
            return
        found = await self._read(ref)
        step = self._step(found, member)
        if step is not None:
            await self._write(ref, step)
            self._held.add(ref)
        elif member is None:
            self._held.discard(ref)

    def _step(self, found: Any, member: Member | None) -> Step | None:
        group = group_of(self._plane.mesh.desired.manifests, member) if member is not None else None
        return due(found, member, group, self.me, datetime.now(UTC))

    async def _read(self, ref: ObjectRef) -> Any:
        try:
            return await self._api.get(item(ref.kind, ref.namespace, ref.name))
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    async def _write(self, ref: ObjectRef, step: Step) -> None:
        path = item(ref.kind, ref.namespace, ref.name)
        match step:
            case Create(document):
                await self._api.send("POST", collection(ref.kind, ref.namespace), document)
            case Replace(document):
                await self._api.send("PUT", path, document)
            case Delete():
                await self._api.send("DELETE", path, _exactly(step))

    async def _tell(self, ref: ObjectRef, healthy: bool) -> None:
        """Once: an agent says it again."""
        try:
            found = await self._read(ref)
            status = with_health(found.get("status") or {}, healthy, datetime.now(UTC)) if found is not None else None
            if status is not None:
                patch = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "status": status}
                await self._api.send(
                    "PATCH", item(ref.kind, ref.namespace, ref.name, "status"), patch, content_type=MERGE_PATCH
                )
        except MachineError as error:
            if isinstance(error, ApiError) and error.code == 409:
                self._plane.told.setdefault(ref, healthy)
                self._moved.notify()
            elif str(error) != self._said:
                self._said = str(error)
                _log.warning("%s: its health is not written: %s", ref, error)

    async def lead(self, acting: Acting, live: Callable[[], Set[str] | None]) -> None:
        """Take away what is nobody's any more. `live`: who is a controller now; None where that is not known."""
        self._alone_since = {}
        while True:
            await asyncio.sleep(_SWEEP)
            for ref in self._orphans(live()):
                found = await self._read(ref)
                known = self._plane.mesh.desired.manifests.get(ref)
                if found is None or known is None or controller(found) != controller(known.document):
                    continue
                _log.info("%s is taken away: its proxy has not come back to anybody", ref)
                try:
                    path = item(ref.kind, ref.namespace, ref.name)
                    await acting.send("DELETE", path, _exactly(delete(found)))
                except ApiError as error:
                    if error.code not in _RACED:
                        raise

    def _orphans(self, live: Set[str] | None) -> list[ObjectRef]:
        now = time.monotonic()
        manifests = self._plane.mesh.desired.manifests
        everybody = {self.me} if live is None else {self.me, *live}
        found = dict(abandoned(manifests, everybody, self._revision, datetime.now(UTC)))
        alone = [ref for ref, is_certain in found.items() if not is_certain and live is not None]
        self._alone_since = {ref: self._alone_since.get(ref, now) for ref in alone}
        late = [ref for ref, since in self._alone_since.items() if now >= since + ORPHANED]
        return sorted([*(ref for ref, is_certain in found.items() if is_certain), *late])


def _exactly(step: Delete) -> dict[str, Any]:
    """What is meant, and no other of its name."""
    given = {"uid": step.uid, "resourceVersion": step.version}
    return {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": given}
