"""The user's objects, and whose they are: a file's, or applied by hand.

A file that is saved again replaces its objects: those that vanished from it are deleted, broken ones keep their last
good form. A change by hand (apply, scale, restart, delete) holds until the object's text in its file changes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from pilotfish.config.kubernetes import Deployment
from pilotfish.config.manifest import Loaded, Manifest
from pilotfish.model import Kind, ObjectRef, Problem
from pilotfish.model.kinds import NAMESPACE

Action = Literal["created", "configured", "unchanged", "deleted", "scaled", "restarted", "notfound", "refused"]


@dataclass(frozen=True, slots=True)
class Change:
    ref: ObjectRef
    action: Action

    @property
    def is_real(self) -> bool:
        return self.action not in ("unchanged", "notfound", "refused")


@dataclass(frozen=True, slots=True)
class Stored:
    manifest: Manifest
    origin: str
    """The file that the object came from, "" if it was applied."""
    created_at: float
    """Seconds since the epoch."""
    generation: int = 1
    """Counts the object's changes."""

    @property
    def ref(self) -> ObjectRef:
        return self.manifest.ref


@dataclass(frozen=True, slots=True)
class Store:
    objects: Mapping[ObjectRef, Stored] = field(default_factory=dict)
    files: Mapping[str, Mapping[ObjectRef, Manifest]] = field(default_factory=dict)
    """What each file held when it was last read."""
    file_problems: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    version: int = 0
    """Counts changes of `objects`."""

    def of_kind(self, kind: Kind) -> tuple[Stored, ...]:
        """In order of namespace and name."""
        return tuple(self.objects[ref] for ref in sorted(r for r in self.objects if r.kind is kind))

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(p for file in sorted(self.file_problems) for p in self.file_problems[file])


def replace_file(store: Store, file: str, loaded: Loaded, now: float) -> tuple[Store, tuple[Change, ...]]:
    """The file's text is now what `loaded` came from; an empty `Loaded` removes the file."""
    before = store.files.get(file, {})
    claimed, doubles = _claim(store, file, loaded.manifests)
    kept = {ref: m for ref, m in before.items() if ref not in claimed and _may_be_broken(ref, loaded)}
    files = {**store.files, file: {**claimed, **kept}}
    if not files[file]:
        del files[file]
    problems = {f: p for f, p in store.file_problems.items() if f != file}
    if loaded.problems or doubles:
        problems[file] = (*loaded.problems, *doubles)
    store = replace(store, files=files, file_problems=problems)
    changed = [m for ref, m in claimed.items() if ref not in before or before[ref].document != m.document]
    store, changes = upsert(_moved(store, claimed), changed, now, origin=file)
    gone = [ref for ref in before if ref not in claimed and ref not in kept and _origin(store, ref) == file]
    store, deletions = delete(store, gone)
    return store, (*changes, *deletions)


def upsert(
    store: Store, manifests: Iterable[Manifest], now: float, origin: str = ""
) -> tuple[Store, tuple[Change, ...]]:
    """Create or configure. An applied object that a file also holds stays that file's."""
    objects = dict(store.objects)
    changes = []
    for manifest in manifests:
        old = objects.get(manifest.ref)
        if old is None:
            objects[manifest.ref] = Stored(manifest, origin, now)
            changes.append(Change(manifest.ref, "created"))
            continue
        manifest = _keep_replicas(old.manifest, manifest)
        same = manifest.document == old.manifest.document
        generation = old.generation if same else old.generation + 1
        objects[manifest.ref] = Stored(manifest, origin or old.origin, old.created_at, generation)
        changes.append(Change(manifest.ref, "unchanged" if same else "configured"))
    return _with(store, objects, changes)


def delete(store: Store, refs: Iterable[ObjectRef]) -> tuple[Store, tuple[Change, ...]]:
    """Delete objects; deleting a Namespace deletes all that it holds."""
    objects = dict(store.objects)
    changes = []
    for ref in refs:
        inside = [r for r in objects if ref.kind is NAMESPACE and r.namespace == ref.name]
        if ref not in objects and not inside:
            changes.append(Change(ref, "notfound"))
            continue
        for doomed in (*([ref] if ref in objects else []), *sorted(inside)):
            del objects[doomed]
            changes.append(Change(doomed, "deleted"))
    return _with(store, objects, changes)


def scale(store: Store, ref: ObjectRef, replicas: int) -> tuple[Store, Change]:
    stored = store.objects.get(ref)
    if stored is None or not isinstance(stored.manifest.resource, Deployment):
        return store, Change(ref, "notfound")
    if stored.manifest.resource.spec.replicas == replicas:
        return store, Change(ref, "scaled")
    return _changed(store, stored, with_replicas(stored.manifest, replicas)), Change(ref, "scaled")


def restart(store: Store, ref: ObjectRef, stamp: str) -> tuple[Store, Change]:
    """Give the template the annotation that `kubectl rollout restart` gives it; `stamp` is an RFC 3339 time."""
    stored = store.objects.get(ref)
    if stored is None or not isinstance(stored.manifest.resource, Deployment):
        return store, Change(ref, "notfound")
    resource = stored.manifest.resource
    annotations = {**resource.spec.template.metadata.annotations, "kubectl.kubernetes.io/restartedAt": stamp}
    metadata = msgspec.structs.replace(resource.spec.template.metadata, annotations=annotations)
    template = msgspec.structs.replace(resource.spec.template, metadata=metadata)
    spec = msgspec.structs.replace(resource.spec, template=template)
    document = copy.deepcopy(dict(stored.manifest.document))
    target = _mapping(_mapping(_mapping(document, "spec"), "template"), "metadata")
    _mapping(target, "annotations")["kubectl.kubernetes.io/restartedAt"] = stamp
    manifest = replace(stored.manifest, resource=msgspec.structs.replace(resource, spec=spec), document=document)
    return _changed(store, stored, manifest), Change(ref, "restarted")


def with_replicas(manifest: Manifest, replicas: int) -> Manifest:
    """A Deployment's manifest with another number of replicas."""
    resource = manifest.resource
    if not isinstance(resource, Deployment):
        return manifest
    document = copy.deepcopy(dict(manifest.document))
    _mapping(document, "spec")["replicas"] = replicas
    spec = msgspec.structs.replace(resource.spec, replicas=replicas)
    return replace(manifest, resource=msgspec.structs.replace(resource, spec=spec), document=document)


def _claim(
    store: Store, file: str, manifests: tuple[Manifest, ...]
) -> tuple[dict[ObjectRef, Manifest], tuple[Problem, ...]]:
    """The file's objects, without those that another file holds already: the first file keeps an object."""
    owners = {ref: other for other, held in store.files.items() if other != file for ref in held}
    claimed: dict[ObjectRef, Manifest] = {}
    doubles = []
    for manifest in manifests:
        other = owners.get(manifest.ref) or (file if manifest.ref in claimed else None)
        if other is None:
            claimed[manifest.ref] = manifest
            continue
        message = f"this object is not used: {other} holds one of the same name; delete or rename one of them"
        doubles.append(Problem(manifest.ref, "", "DuplicateObject", message, source=manifest.source))
    return claimed, tuple(doubles)


def _may_be_broken(ref: ObjectRef, loaded: Loaded) -> bool:
    """A document that could not be read as an object may be any of those that the file held before."""
    return ref in loaded.broken or loaded.incomplete


def _moved(store: Store, claimed: Mapping[ObjectRef, Manifest]) -> Store:
    """With the lines on which objects that are otherwise as they were stand now."""
    objects = dict(store.objects)
    for ref, manifest in claimed.items():
        stored = objects.get(ref)
        if stored is not None and stored.manifest.document == manifest.document:
            objects[ref] = replace(stored, manifest=manifest)
    return replace(store, objects=objects)


def _keep_replicas(old: Manifest, new: Manifest) -> Manifest:
    """A Deployment that names no replicas keeps those it was scaled to, as with `kubectl apply`."""
    if not isinstance(old.resource, Deployment) or "replicas" in _mapping(dict(new.document), "spec"):
        return new
    return with_replicas(new, old.resource.spec.replicas) if old.resource.spec.replicas != 1 else new


def _changed(store: Store, stored: Stored, manifest: Manifest) -> Store:
    new = replace(stored, manifest=manifest, generation=stored.generation + 1)
    return replace(store, objects={**store.objects, stored.ref: new}, version=store.version + 1)


def _with(store: Store, objects: dict[ObjectRef, Stored], changes: list[Change]) -> tuple[Store, tuple[Change, ...]]:
    moved = any(change.is_real for change in changes)
    return replace(store, objects=objects, version=store.version + moved), tuple(changes)


def _origin(store: Store, ref: ObjectRef) -> str | None:
    stored = store.objects.get(ref)
    return stored.origin if stored else None


def _mapping(parent: dict[str, object], key: str) -> dict[str, object]:
    """`parent[key]` as a dict, made if it is missing or null."""
    value = parent.get(key)
    if not isinstance(value, dict):
        value = {}
        parent[key] = value
    return value
