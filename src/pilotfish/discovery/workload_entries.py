"""In a cluster: the WorkloadEntry of a workload that registers itself, as the API server is to have it.

    Member, its WorkloadGroup, the entry as it is ─due─▶ Create, Replace or Delete; None where it is as it should be

The replica that a proxy is connected to writes its entry, and stands in it as its controller. Who has it from another
writes itself there; who has lost the proxy writes since when, and, if nobody has it after a while, takes the entry
away. So it is with the annotations of Istio's. An entry that somebody wrote by hand is left alone.

Source: https://istio.io/latest/docs/reference/config/annotations/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import msgspec

from pilotfish.config.istio import WorkloadEntry, WorkloadGroup
from pilotfish.config.manifest import Manifest
from pilotfish.discovery.registration import GRACE, GROUP, HEALTHY, Member, build_entry, document_of, refusal
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import WORKLOAD_ENTRY, WORKLOAD_GROUP

CONTROLLER: Final = "istio.io/workloadController"
CONNECTED: Final = "istio.io/connectedAt"
DISCONNECTED: Final = "istio.io/disconnectedAt"
MADE_OF: Final = "pilotfish.io/made-of"
"""A digest of what the group and the proxy said: what somebody changes in an entry stays until they say something
else."""
ORPHANED: Final = 30.0
"""Seconds for which nobody is to have been its controller until an entry is taken away: proxies are back within a few
of a replica that was killed."""
Document: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Create:
    document: Document


@dataclass(frozen=True, slots=True)
class Replace:
    document: Document
    """With the resourceVersion of what it replaces."""


@dataclass(frozen=True, slots=True)
class Delete:
    uid: str
    version: str
    """Of what is meant: who has changed it meanwhile keeps it."""


Step: TypeAlias = Create | Replace | Delete


def due(
    found: Document | None, member: Member | None, group: WorkloadGroup | None, me: str, now: datetime
) -> Step | None:
    """`found`: the entry as it is. `member`: None where the proxy has been away for long enough. `me`: this replica, of
    which a later start is another."""
    if member is None:
        return delete(found) if found is not None and controller(found) == me else None
    if member.left_at is not None:
        is_mine = found is not None and controller(found) == me and DISCONNECTED not in _annotations(found)
        return _let_go(found, now) if found is not None and is_mine else None
    if group is None or refusal(member, group):
        return None
    wanted = _written(member, group)
    if found is None:
        return Create(_taken(wanted, me, now))
    if not registered(found) or found["metadata"].get("deletionTimestamp"):
        return None
    notes = _annotations(found)
    if notes.get(MADE_OF) != _annotations(wanted)[MADE_OF]:
        return Replace(_taken(_over(found, wanted), me, now))
    if notes.get(CONTROLLER) != me or DISCONNECTED in notes:
        return Replace(_taken(found, me, now))
    return None


def abandoned(
    manifests: Mapping[ObjectRef, Manifest], live: Set[str], revision: str, now: datetime
) -> Iterator[tuple[ObjectRef, bool]]:
    """The entries that nobody will take away: whose controller has ended. And whether that is certain, or to be seen
    for `ORPHANED` seconds, as their proxies may be on the way. `live`: the controllers of this revision."""
    for ref, manifest in manifests.items():
        if ref.kind is not WORKLOAD_ENTRY or not isinstance(manifest.resource, WorkloadEntry):
            continue
        notes = manifest.resource.metadata.annotations
        holder = notes.get(CONTROLLER, "")
        if GROUP not in notes or not holder:
            continue
        if DISCONNECTED in notes:
            if _age(notes[DISCONNECTED], now) > 2 * GRACE:
                yield ref, True
        elif holder.partition("/")[0] == revision and holder not in live:
            yield ref, False


def registered(found: Document) -> bool:
    """It registered itself, and is nobody's own."""
    return GROUP in _annotations(found)


def controller(found: Document) -> str:
    return str(_annotations(found).get(CONTROLLER, "")) if registered(found) else ""


def delete(found: Document) -> Delete:
    metadata = found["metadata"]
    return Delete(str(metadata.get("uid", "")), str(metadata.get("resourceVersion", "")))


def with_health(status: Document, healthy: bool, now: datetime) -> Document | None:
    """The status with what the agent said; None where it says so already. What others write there stays."""
    conditions = [each for each in status.get("conditions") or () if isinstance(each, Mapping)]
    before = next((each for each in conditions if each.get("type") == HEALTHY), {})
    if before.get("status") == str(healthy):
        return None
    mine = {"type": HEALTHY, "status": str(healthy), "lastTransitionTime": _text(now)}
    return {"conditions": [*(each for each in conditions if each.get("type") != HEALTHY), mine]}


def entries_at(manifests: Iterable[Manifest], namespace: str, address: str) -> Iterator[ObjectRef]:
    """Those that registered themselves with this address."""
    for manifest in manifests:
        entry = manifest.resource
        if not isinstance(entry, WorkloadEntry) or GROUP not in entry.metadata.annotations:
            continue
        if (manifest.ref.namespace, entry.spec.address) == (namespace, address):
            yield manifest.ref


def _written(member: Member, group: WorkloadGroup) -> Document:
    """As it is made: how healthy it is stands in its status, which is written by itself."""
    document = {key: value for key, value in document_of(build_entry(member, group)).items() if key != "status"}
    metadata: dict[str, Any] = {**_metadata(document)}
    said = msgspec.json.encode((metadata, document["spec"]), order="deterministic")
    metadata["annotations"] = {**metadata["annotations"], MADE_OF: blake2b(said, digest_size=8).hexdigest()}
    owner = {"apiVersion": WORKLOAD_GROUP.api_versions[0], "kind": WORKLOAD_GROUP.name, "controller": True}
    metadata["ownerReferences"] = [{**owner, "name": group.metadata.name, "uid": group.metadata.uid}]
    return {**document, "metadata": metadata}


def _over(found: Document, wanted: Document) -> Document:
    """What somebody else notes there stays; labels are all the group's, by which traffic comes."""
    metadata = {**found["metadata"], **_metadata(wanted)}
    metadata["annotations"] = {**_annotations(found), **_annotations(wanted)}
    return {**found, "metadata": metadata, "spec": wanted["spec"]}


def _taken(document: Document, me: str, now: datetime) -> Document:
    notes = {key: text for key, text in _annotations(document).items() if key != DISCONNECTED}
    return _noted(document, {**notes, CONTROLLER: me, CONNECTED: _text(now)})


def _let_go(document: Document, now: datetime) -> Replace:
    notes = {key: text for key, text in _annotations(document).items() if key != CONNECTED}
    return Replace(_noted(document, {**notes, DISCONNECTED: _text(now)}))


def _noted(document: Document, annotations: Mapping[str, str]) -> Document:
    return {**document, "metadata": {**_metadata(document), "annotations": dict(annotations)}}


def _metadata(document: Document) -> Mapping[str, Any]:
    found: Mapping[str, Any] = document["metadata"]
    return found


def _annotations(document: Document) -> Mapping[str, str]:
    return _metadata(document).get("annotations") or {}


def _age(text: str, now: datetime) -> float:
    """Seconds; none of what is no time."""
    try:
        return (now - datetime.fromisoformat(text)).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _text(now: datetime) -> str:
    return now.isoformat(timespec="microseconds").replace("+00:00", "Z")
