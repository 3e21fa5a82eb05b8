"""What a change to the manifests would change: which objects, and which resources of which proxies.

what the mesh holds, what is given ─lay_over─▶ what it would hold
World before, World after ─compare─▶ Difference
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import msgspec

from pilotfish.config.desired import DesiredState
from pilotfish.config.kubernetes import Pod, Service
from pilotfish.config.manifest import Loaded, Manifest, WrittenMeshConfig
from pilotfish.config.workloads import CronJob, Job, template_of
from pilotfish.envoy.types import SERVED
from pilotfish.envoy.values import ResourceSet
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.private import reveal
from pilotfish.model.redaction import redacted
from pilotfish.model.wellknown import SOURCE_ANNOTATION
from pilotfish.node import store as storing
from pilotfish.node.store import Store, Stored
from pilotfish.offline.world import World

_GIVEN_BY_THE_MESH = ("creationTimestamp", "generation", "resourceVersion", "uid", "ownerReferences")


@dataclass(frozen=True, slots=True)
class ObjectChange:
    ref: ObjectRef
    before: Mapping[str, object] | None
    """None for one that is new. Without what the mesh itself writes into objects."""
    after: Mapping[str, object]
    replaces_pods: bool
    """Its pods are replaced by others, and only then is all of it in force."""


@dataclass(frozen=True, slots=True, order=True)
class ResourceChange:
    type: str
    """`route`, as Istio calls one; `all` of a proxy that comes or goes."""
    name: str
    what: str
    """added, changed, removed."""


@dataclass(frozen=True, slots=True)
class Difference:
    objects: tuple[ObjectChange, ...]
    unchanged: tuple[ObjectRef, ...]
    """Objects that are given again, as they are."""
    proxies: tuple[tuple[tuple[str, ...], tuple[ResourceChange, ...]], ...]
    """(proxies by `name.namespace`, what changes in each of them): those that change alike together."""
    problems: tuple[Problem, ...]
    """That there were not before."""


def lay_over(before: DesiredState, given: DesiredState) -> DesiredState:
    """What the mesh holds after `apply`: addresses and replicas stay those that it gave."""
    loaded = Loaded(tuple(given.manifests.values()), mesh_config=_mesh_config(given))
    store = Store({ref: Stored(manifest, "", 0.0) for ref, manifest in before.manifests.items()})
    store, _ = storing.apply(store, loaded, 0.0)
    manifests = {ref: _keep(before.manifests.get(ref), stored.manifest) for ref, stored in store.objects.items()}
    config = given.mesh_config if loaded.mesh_config is not None else before.mesh_config
    return replace(before, manifests=manifests, mesh_config=config, problems=(*before.problems, *given.problems))


def compare(before: World, after: World) -> Difference:
    known = set(map(_what, before.problems))
    changes = {change.ref: change for change in _objects(before.desired.manifests, after.desired.manifests)}
    given = (ref for ref, m in after.desired.manifests.items() if before.desired.manifests.get(ref) is not m)
    return Difference(
        tuple(changes.values()),
        tuple(sorted(ref for ref in given if ref not in changes)),
        _proxies(before, after),
        tuple(problem for problem in after.problems if _what(problem) not in known),
    )


def _what(problem: Problem) -> tuple[object, ...]:
    """Wherever it is written."""
    return problem.ref, problem.field, problem.reason, problem.message


def _mesh_config(given: DesiredState) -> WrittenMeshConfig | None:
    return next((held.mesh_config for held in given.held.values() if held.mesh_config is not None), None)


def _keep(old: Manifest | None, new: Manifest) -> Manifest:
    """With the addresses that the mesh gave to the object as it was."""
    if old is None or old is new:
        return new
    match old.resource, new.resource:
        case Pod(status=status), Pod() as pod if not pod.status.pod_ip:
            return replace(new, resource=msgspec.structs.replace(pod, status=status))
        case Service(spec=spec), Service() as service if not service.spec.cluster_ip and spec.cluster_ip != "None":
            kept = msgspec.structs.replace(service.spec, cluster_ip=spec.cluster_ip)
            return replace(new, resource=msgspec.structs.replace(service, spec=kept))
        case (Job() | CronJob() as was, Job() | CronJob() as will):
            # It has had its pods.
            created = was.metadata.creation_timestamp
            metadata = msgspec.structs.replace(will.metadata, creation_timestamp=created)
            return replace(new, resource=msgspec.structs.replace(will, metadata=metadata))
    return new


def _objects(before: Mapping[ObjectRef, Manifest], after: Mapping[ObjectRef, Manifest]) -> Iterator[ObjectChange]:
    for ref, manifest in sorted(after.items()):
        old = before.get(ref)
        if old is manifest:
            continue
        shown = _shown(manifest.document)
        was = None if old is None else _as_written(_shown(old.document), shown)
        if was != shown:
            was, shown = None if was is None else redacted(was), redacted(shown, was)
            yield ObjectChange(
                ref, was, shown, old is not None and template_of(old.resource) != template_of(manifest.resource)
            )


def _shown(document: Mapping[str, object]) -> dict[str, object]:
    """As its author would write it."""
    shown = {name: value for name, value in document.items() if name != "status"}
    metadata = dict(_mapping(document.get("metadata")))
    annotations = {
        name: value for name, value in _mapping(metadata.get("annotations")).items() if name != SOURCE_ANNOTATION
    }
    for name in (*_GIVEN_BY_THE_MESH, "annotations"):
        metadata.pop(name, None)
    return {**shown, "metadata": {**metadata, **({"annotations": annotations} if annotations else {})}}


def _as_written(was: dict[str, object], will: Mapping[str, object]) -> dict[str, object]:
    """Without the cluster IP that the mesh gave, where the author leaves it to the mesh."""
    if "clusterIP" in _mapping(will.get("spec")) or "clusterIP" not in _mapping(was.get("spec")):
        return was
    return {**was, "spec": {name: value for name, value in _mapping(was["spec"]).items() if name != "clusterIP"}}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _proxies(before: World, after: World) -> tuple[tuple[tuple[str, ...], tuple[ResourceChange, ...]], ...]:
    alike: dict[tuple[ResourceChange, ...], list[str]] = {}
    for name in sorted({*before.connected, *after.connected}):
        changes = tuple(_changes(before, after, name))
        if changes:
            alike.setdefault(changes, []).append(name)
    return tuple((tuple(names), changes) for changes, names in alike.items())


def _changes(before: World, after: World, name: str) -> Iterator[ResourceChange]:
    old, new = before.connected.get(name), after.connected.get(name)
    if old is not None and new is not None:
        yield from _resources(before.mesh.resources(old), after.mesh.resources(new))
    else:
        yield ResourceChange("all", "*", "added" if old is None else "removed")


def _resources(before: ResourceSet, after: ResourceSet) -> Iterator[ResourceChange]:
    if before.version == after.version:
        return
    for row in SERVED:
        old, new = _versions(before, row.url), _versions(after, row.url)
        for name in sorted({*old, *new}):
            if name not in old:
                yield ResourceChange(row.noun, name, "added")
            elif name not in new:
                yield ResourceChange(row.noun, name, "removed")
            elif old[name] != new[name]:
                yield ResourceChange(row.noun, name, "changed")


def _versions(resources: ResourceSet, type_url: str) -> dict[str, str]:
    return {resource.name: reveal(resource.version) for resource in resources.resources(type_url)}
