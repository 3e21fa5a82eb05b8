"""An installation in a cluster: what is there of it, applying it, awaiting it, taking it away.

Objects are applied by the server (server-side apply), so that fields which others have set stay, and
applying twice changes nothing. Nothing is retried: what the API server refuses ends the work, which may be begun again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pilotfish.cluster.paths import collection, item
from pilotfish.install.inventory import (
    REMOVED,
    SELECTOR,
    Conflict,
    find_conflict,
    is_left_alone,
    is_ours,
    kind_of,
    ref_of,
)
from pilotfish.install.names import Names, Object
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.kinds import DEPLOYMENT, NAMESPACE
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.errors import ApiError

MANAGER: Final = "pilotfish"
_NOT_FOUND: Final = 404


class Change(StrEnum):
    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    KEPT = "kept as it is"
    """There already, not ours, and good enough."""
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Step:
    ref: ObjectRef
    change: Change


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is of the objects that are wanted."""

    live: Mapping[ObjectRef, Object]
    absent: frozenset[ObjectRef]
    conflicts: tuple[Conflict, ...]


async def read(api: Api, ref: ObjectRef) -> Object | None:
    try:
        found: Object = await api.get(item(ref.kind, ref.namespace, ref.name))
    except ApiError as error:
        if error.code == _NOT_FOUND:
            return None
        raise
    return found


async def survey(api: Api, wanted: Iterable[Object]) -> Survey:
    live: dict[ObjectRef, Object] = {}
    absent = set()
    conflicts = []
    for each in wanted:
        ref = ref_of(each)
        found = await read(api, ref)
        if found is None:
            absent.add(ref)
        else:
            live[ref] = found
        conflict = find_conflict(each, found)
        if conflict is not None:
            conflicts.append(conflict)
    return Survey(live, frozenset(absent), tuple(conflicts))


async def apply(api: Api, wanted: Sequence[Object], surveyed: Survey, *, dry_run: bool = False) -> AsyncIterator[Step]:
    """In order. A dry run asks the API server about each, and changes nothing."""
    absent = {ref.name for ref in surveyed.absent if ref.kind is NAMESPACE}
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in wanted if each["kind"] == "HorizontalPodAutoscaler"}
    for each in wanted:
        ref = ref_of(each)
        before = surveyed.live.get(ref)
        if is_left_alone(each, before):
            yield Step(ref, Change.KEPT)
        elif dry_run and ref.namespace in absent:
            # Nothing can be asked about what is in a namespace that is not there.
            yield Step(ref, Change.CREATED)
        else:
            sent = _as_scaled(each, before) if ref.name in scaled and before is not None else each
            path = item(ref.kind, ref.namespace, ref.name)
            after = await api.apply(path, sent, manager=MANAGER, force=True, dry_run=dry_run)
            yield Step(ref, _change(before, after))


def _as_scaled(wanted: Object, before: Object) -> Object:
    """A Deployment keeps the number that its autoscaler has come to."""
    if kind_of(wanted) is not DEPLOYMENT:
        return wanted
    least, now = wanted["spec"]["replicas"], before["spec"].get("replicas", 1)
    return {**wanted, "spec": {**wanted["spec"], "replicas": max(least, now)}}


def _change(before: Object | None, after: Object) -> Change:
    if before is None:
        return Change.CREATED
    same = _told(before) == _told(after)
    return Change.UNCHANGED if same else Change.CONFIGURED


def _told(source: Object) -> Object:
    """Without what says only that it was written."""
    metadata = {
        name: value
        for name, value in source["metadata"].items()
        if name not in ("managedFields", "resourceVersion", "generation")
    }
    return {**{name: value for name, value in source.items() if name != "status"}, "metadata": metadata}


async def find_plane(api: Api, names: Names) -> Object | None:
    """A revision's control plane, if it is ours."""
    found = await read(api, DEPLOYMENT.ref(names.namespace, names.own))
    return found if found is not None and is_ours(found) else None


async def find_ours(api: Api) -> tuple[Object, ...]:
    """All that bears our labels, in the order in which it goes; neither definitions nor namespaces."""
    return tuple([each for kind in REMOVED for each in await listed(api, kind, selector=SELECTOR)])


async def listed(api: Api, kind: Kind, namespace: str = "", selector: str = "") -> list[Object]:
    """Each with its kind, which lists leave out. Nothing of a kind that the cluster lacks."""
    found: list[Object] = []
    try:
        async for page in api.pages(collection(kind, namespace), labelSelector=selector):
            found += ({"apiVersion": kind.api_versions[0], "kind": kind.name, **each} for each in page.items)
    except ApiError as error:
        if error.code != _NOT_FOUND:
            raise
    return found


async def remove(api: Api, sources: Iterable[Object]) -> AsyncIterator[Step]:
    """In order. What is gone already is passed over."""
    for each in sources:
        ref = ref_of(each)
        if await delete(api, ref):
            yield Step(ref, Change.DELETED)


async def delete(api: Api, ref: ObjectRef) -> bool:
    """Whether it was there."""
    try:
        await api.send("DELETE", item(ref.kind, ref.namespace, ref.name), {"propagationPolicy": "Background"})
    except ApiError as error:
        if error.code == _NOT_FOUND:
            return False
        raise
    return True
