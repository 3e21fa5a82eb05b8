"""Which directory each PersistentVolumeClaim is.

It is one of the mesh's state, unless a PersistentVolume of the machine's is for it: named by the claim (`volumeName`),
or naming it (`claimRef`), else of its class, there before the claim, and nobody's yet. Sizes and access modes choose
nothing.
Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#binding
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from pilotfish.config.workloads import PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM
from pilotfish.node.identity import PodIdentity
from pilotfish.node.store import Store, Stored


@dataclass(frozen=True, slots=True)
class Bound:
    volume: str
    """The PersistentVolume's name."""
    path: str
    type: str
    """Of hostPath's types."""


def path(pod: PodIdentity, claim: str) -> str:
    return f"{pod.storage}/claims/{pod.namespace}.{claim}"


def stand_in(pod: PodIdentity, host_path: str) -> str:
    """What stands for a path that the machine lacks: the same for all pods of the mesh."""
    return f"{pod.storage}/host/{quote(host_path.rstrip('/'), safe='')}"


def claims_of(pod: PodIdentity) -> Iterable[ObjectRef]:
    named = (volume.persistent_volume_claim for volume in pod.spec.volumes)
    return (PERSISTENT_VOLUME_CLAIM.ref(pod.namespace, claim.claim_name) for claim in named if claim is not None)


def bind(store: Store) -> Mapping[ObjectRef, Bound | str]:
    """Claim → its PersistentVolume, or why it waits for one. A claim that is not here has a directory of its own."""
    free = {stored.ref.name: stored for stored in store.of_kind(PERSISTENT_VOLUME)}
    found: dict[ObjectRef, Bound | str] = {}
    waiting = sorted(store.of_kind(PERSISTENT_VOLUME_CLAIM), key=lambda each: (each.created_at, each.ref))
    # Those that are named are nobody else's, however late.
    for claim in waiting:
        name = _spec(claim).volume_name
        volume = free.pop(name, None) if name else _kept_for(claim.ref, free)
        if volume is not None:
            free.pop(volume.ref.name, None)
            _note(found, claim, volume)
        elif name:
            found[claim.ref] = f'{PERSISTENT_VOLUME} "{name}" not found, or another claim has it'
    for claim in waiting:
        if claim.ref not in found and not _spec(claim).volume_name:
            volume = next((each for _, each in sorted(free.items()) if _is_for(each, claim)), None)
            if volume is not None:
                del free[volume.ref.name]
                _note(found, claim, volume)
    return found


def fill_in(document: dict[str, object], stored: Stored, store: Store) -> None:
    """What Kubernetes adds to a claim or a volume."""
    written, bound = document.get("spec"), bind(store)
    spec: dict[str, object] = dict(written) if isinstance(written, Mapping) else {}
    if stored.ref.kind is PERSISTENT_VOLUME_CLAIM:
        volume = bound.get(stored.ref)
        if isinstance(volume, Bound):
            spec["volumeName"] = volume.volume
        resources = spec.get("resources")
        capacity = resources.get("requests") if isinstance(resources, Mapping) else None
        status = {"phase": "Pending"} if isinstance(volume, str) else {"phase": "Bound", "capacity": capacity or {}}
    else:
        named = (ref for ref, each in bound.items() if isinstance(each, Bound) and each.volume == stored.ref.name)
        claim = next(named, None)
        if claim is not None:
            spec["claimRef"] = {"kind": claim.kind.name, "namespace": claim.namespace, "name": claim.name}
        status = {"phase": "Available" if claim is None else "Bound"}
    document |= {"spec": spec, "status": status}


def _note(found: dict[ObjectRef, Bound | str], claim: Stored, volume: Stored) -> None:
    """A volume of another source than the machine's directories stands for one of the mesh's."""
    resource = volume.manifest.resource
    if not isinstance(resource, PersistentVolume):
        return
    if resource.spec.host_path is not None:
        found[claim.ref] = Bound(volume.ref.name, resource.spec.host_path.path, resource.spec.host_path.type)
    elif resource.spec.local is not None:
        found[claim.ref] = Bound(volume.ref.name, resource.spec.local.path, "Directory")


def _kept_for(claim: ObjectRef, free: Mapping[str, Stored]) -> Stored | None:
    return next((volume for _, volume in sorted(free.items()) if _reserved(volume) == claim), None)


def _reserved(volume: Stored) -> ObjectRef | None:
    resource = volume.manifest.resource
    named = resource.spec.claim_ref if isinstance(resource, PersistentVolume) else None
    return PERSISTENT_VOLUME_CLAIM.ref(named.namespace or "default", named.name) if named is not None else None


def _is_for(volume: Stored, claim: Stored) -> bool:
    """A claim that was there before has a directory already, with data in it."""
    resource = volume.manifest.resource
    if not isinstance(resource, PersistentVolume) or not (resource.spec.host_path or resource.spec.local):
        return False
    same = resource.spec.storage_class_name == (_spec(claim).storage_class_name or "")
    return same and _reserved(volume) is None and volume.created_at <= claim.created_at


def _spec(claim: Stored) -> PersistentVolumeClaimSpec:
    resource = claim.manifest.resource
    if not isinstance(resource, PersistentVolumeClaim):
        raise TypeError(f"{claim.ref} is no PersistentVolumeClaim")
    return resource.spec
