"""The user's objects as they are now: what the sources want (`config.desired`), and what was changed by hand since.

A change by hand (apply, scale, restart, delete) holds until the object's text in its file changes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from pilotfish.config.desired import DesiredState, News, mesh_config_refs, update, withdraw
from pilotfish.config.istio import ProxyConfig
from pilotfish.config.kubernetes import Deployment, Metadata
from pilotfish.config.manifest import Loaded, Manifest
from pilotfish.config.workloads import ReplicaSet, StatefulSet, template_of, template_path, with_template
from pilotfish.model import Kind, ObjectRef, Problem
from pilotfish.model.kinds import NAMESPACE, PROXY_CONFIG
from pilotfish.node.gateways import with_gateways

_MOST_REFUSED = 500

APPLIED = ""
"""The origin of what was applied by hand."""

Scaled = Deployment | ReplicaSet | StatefulSet
"""What has `replicas`."""

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
    """The file that the object came from, or APPLIED."""
    created_at: float
    """Seconds since the epoch."""
    generation: int = 1
    """Counts the object's changes."""
    problems: tuple[Problem, ...] = ()
    """Of the text that was applied by hand: what is in it and has no effect. A file's are `DesiredState`'s."""

    @property
    def ref(self) -> ObjectRef:
        return self.manifest.ref


@dataclass(frozen=True, slots=True)
class Store:
    objects: Mapping[ObjectRef, Stored] = field(default_factory=dict)
    desired: DesiredState = field(default_factory=DesiredState)
    version: int = 0
    """Counts changes of `objects`."""
    refused: Mapping[ObjectRef, tuple[Problem, ...]] = field(default_factory=dict)
    """What was said of objects that were applied by hand and could not be used, until a better form of them is, or
    until they are deleted; the newest last, and of so many that they are counted, the oldest are forgotten."""

    def of_kind(self, kind: Kind) -> tuple[Stored, ...]:
        """In order of namespace and name."""
        return tuple(self.objects[ref] for ref in sorted(r for r in self.objects if r.kind is kind))

    def namespace(self, name: str) -> Metadata:
        """What a Namespace says of itself; nothing, of one that nobody wrote."""
        stored = self.objects.get(NAMESPACE.ref("", name))
        return stored.manifest.resource.metadata if stored is not None else Metadata()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Of all texts that are in force."""
        applied = (problem for stored in self.objects.values() for problem in stored.problems)
        refused = (problem for said in self.refused.values() for problem in said)
        return (*self.desired.problems, *applied, *refused)


def proxy_configs(store: Store) -> tuple[ProxyConfig, ...]:
    """The oldest first."""
    found = sorted(store.of_kind(PROXY_CONFIG), key=lambda stored: stored.created_at)
    return tuple(s.manifest.resource for s in found if isinstance(s.manifest.resource, ProxyConfig))


def follow(store: Store, news: News, now: float) -> tuple[Store, tuple[Change, ...]]:
    """The sources hold this now: what is new or other than it was is created or configured, what is gone deleted."""
    before, after = store.desired, update(store.desired, news)
    fresh = [manifest for ref, manifest in after.manifests.items() if before.manifests.get(ref) is not manifest]
    changed = [m for m in fresh if (old := before.manifests.get(m.ref)) is None or old.document != m.document]
    gone = [ref for ref in before.manifests if ref not in after.manifests]
    theirs = [ref for ref in gone if ref in store.objects and store.objects[ref].origin == before.keepers[ref]]
    store, changes = _upsert(_moved(replace(store, desired=after), fresh), changed, now)
    store = _let_go(store, _changed_mesh_configs(before, after, news))
    store, deletions = delete(store, theirs)
    return store, (*changes, *deletions)


def apply(store: Store, loaded: Loaded, now: float) -> tuple[Store, tuple[Change, ...]]:
    """Create or configure by hand. An object that a file holds stays that file's."""
    if loaded.mesh_config is not None:
        desired = update(store.desired, {APPLIED: Loaded(mesh_config=loaded.mesh_config)})
        store = replace(store, desired=desired)
    said: dict[ObjectRef, list[Problem]] = {}
    for problem in loaded.problems:
        if problem.ref is not None:
            said.setdefault(problem.ref, []).append(problem)
    store, changes = _upsert(store, loaded.manifests, now, by_hand=said)
    kept = {ref: each for ref, each in store.refused.items() if ref not in loaded.broken}
    refused = {**kept, **{ref: tuple(said.get(ref, ())) for ref in sorted(loaded.broken)}}
    return replace(store, refused=dict(list(refused.items())[-_MOST_REFUSED:])), changes


def delete(store: Store, refs: Iterable[ObjectRef]) -> tuple[Store, tuple[Change, ...]]:
    """Delete objects; deleting a Namespace deletes all that it holds. A meshConfig goes with the object that holds it,
    which need not be a stored one (an IstioOperator is none)."""
    objects = dict(store.objects)
    holders = mesh_config_refs(store.desired)
    gone: set[ObjectRef] = set()
    changes = []
    for ref in refs:
        gone.add(ref)
        inside = [r for r in objects if ref.kind is NAMESPACE and r.namespace == ref.name]
        if ref not in objects and not inside and ref in holders:
            changes.append(Change(ref, "deleted"))
            continue
        if ref not in objects and not inside:
            changes.append(Change(ref, "notfound"))
            continue
        for doomed in (*([ref] if ref in objects else []), *sorted(inside)):
            del objects[doomed]
            gone.add(doomed)
            changes.append(Change(doomed, "deleted"))
    emptied = {ref.name for ref in gone if ref.kind is NAMESPACE}
    refused = {r: said for r, said in store.refused.items() if r not in gone and r.namespace not in emptied}
    store = replace(store, refused=refused)
    if gone & holders:
        store = _let_go(store, gone)
        store = replace(store, desired=withdraw(store.desired, gone))
    return _with(store, objects, changes)


def _let_go(store: Store, refs: set[ObjectRef]) -> Store:
    """Without the applied meshConfig, if it stands in one of these objects."""
    applied = store.desired.held.get(APPLIED)
    if applied is None or applied.mesh_config is None or applied.mesh_config.ref not in refs:
        return store
    return replace(store, desired=update(store.desired, {APPLIED: None}))


def _changed_mesh_configs(before: DesiredState, after: DesiredState, news: News) -> set[ObjectRef]:
    """The objects whose meshConfig reads otherwise now in a file."""
    found = set()
    for origin in news:
        old, new = (state.held[origin].mesh_config if origin in state.held else None for state in (before, after))
        if new is not None and new.ref is not None and new != old:
            found.add(new.ref)
    return found


def complete(store: Store, now: float) -> Store:
    """With the gateways that the mesh runs itself, as its objects ask for now."""
    before = {ref: stored.manifest for ref, stored in store.objects.items()}
    after = with_gateways(before, store.desired.mesh_config)
    if after is before:
        return store
    store, _ = _upsert(store, [each for ref, each in after.items() if before.get(ref) is not each], now, by_hand={})
    return delete(store, [ref for ref in before if ref not in after])[0]


def make(store: Store, manifests: Iterable[Manifest], now: float) -> tuple[Store, tuple[Change, ...]]:
    """Create what other objects ask for; what is there stays as it is."""
    return _upsert(store, [each for each in manifests if each.ref not in store.objects], now, by_hand={})


def scale(store: Store, ref: ObjectRef, replicas: int) -> tuple[Store, Change]:
    stored = store.objects.get(ref)
    if stored is None or not isinstance(stored.manifest.resource, Scaled):
        return store, Change(ref, "notfound")
    if stored.manifest.resource.spec.replicas == replicas:
        return store, Change(ref, "scaled")
    return _changed(store, stored, with_replicas(stored.manifest, replicas)), Change(ref, "scaled")


def restart(store: Store, ref: ObjectRef, stamp: str) -> tuple[Store, Change]:
    """Give the template the annotation that `kubectl rollout restart` gives it; `stamp` is an RFC 3339 time."""
    stored = store.objects.get(ref)
    template = template_of(stored.manifest.resource) if stored is not None else None
    if stored is None or template is None:
        return store, Change(ref, "notfound")
    annotations = {**template.metadata.annotations, "kubectl.kubernetes.io/restartedAt": stamp}
    metadata = msgspec.structs.replace(template.metadata, annotations=annotations)
    resource = with_template(stored.manifest.resource, msgspec.structs.replace(template, metadata=metadata))
    document = copy.deepcopy(dict(stored.manifest.document))
    target = document
    for name in (*template_path(ref.kind), "metadata", "annotations"):
        target = _mapping(target, name)
    target["kubectl.kubernetes.io/restartedAt"] = stamp
    manifest = replace(stored.manifest, resource=resource, written=document)
    return _changed(store, stored, manifest), Change(ref, "restarted")


def with_replicas(manifest: Manifest, replicas: int) -> Manifest:
    """The manifest with another number of replicas, if its kind has them."""
    resource = manifest.resource
    if not isinstance(resource, Scaled):
        return manifest
    document = copy.deepcopy(dict(manifest.document))
    _mapping(document, "spec")["replicas"] = replicas
    spec = msgspec.structs.replace(resource.spec, replicas=replicas)
    return replace(manifest, resource=msgspec.structs.replace(resource, spec=spec), written=document)


def _upsert(
    store: Store, manifests: Iterable[Manifest], now: float, by_hand: Mapping[ObjectRef, list[Problem]] | None = None
) -> tuple[Store, tuple[Change, ...]]:
    """`by_hand`: they were applied, and what was said of them."""
    objects = dict(store.objects)
    changes = []
    for manifest in manifests:
        old = objects.get(manifest.ref)
        keeper = APPLIED if by_hand is not None else store.desired.keepers[manifest.ref]
        said = tuple((by_hand or {}).get(manifest.ref, ()))
        if old is None:
            objects[manifest.ref] = Stored(manifest, keeper, now, problems=said)
            changes.append(Change(manifest.ref, "created"))
            continue
        manifest = _keep_replicas(old.manifest, manifest)
        same = manifest.document == old.manifest.document
        generation = old.generation if same else old.generation + 1
        origin = keeper if by_hand is None else old.origin
        objects[manifest.ref] = Stored(manifest, origin, old.created_at, generation, said)
        changes.append(Change(manifest.ref, "unchanged" if same else "configured"))
    good = {change.ref for change in changes}
    store = replace(store, refused={ref: said for ref, said in store.refused.items() if ref not in good})
    return _with(store, objects, changes)


def _moved(store: Store, manifests: Iterable[Manifest]) -> Store:
    """With the files and lines in which objects stand now whose texts are otherwise as they were."""
    objects = dict(store.objects)
    for manifest in manifests:
        stored, keeper = objects.get(manifest.ref), store.desired.keepers[manifest.ref]
        if stored is not None and stored.manifest.document == manifest.document:
            objects[manifest.ref] = replace(stored, manifest=manifest, origin=keeper)
        elif stored is not None and stored.origin != APPLIED:
            objects[manifest.ref] = replace(stored, origin=keeper)
    return replace(store, objects=objects)


def _keep_replicas(old: Manifest, new: Manifest) -> Manifest:
    """What names no replicas keeps those it was scaled to, as with `kubectl apply`."""
    if not isinstance(old.resource, Scaled) or "replicas" in _mapping(dict(new.document), "spec"):
        return new
    return with_replicas(new, old.resource.spec.replicas) if old.resource.spec.replicas != 1 else new


def _changed(store: Store, stored: Stored, manifest: Manifest) -> Store:
    new = replace(stored, manifest=manifest, generation=stored.generation + 1)
    return replace(store, objects={**store.objects, stored.ref: new}, version=store.version + 1)


def _with(store: Store, objects: dict[ObjectRef, Stored], changes: list[Change]) -> tuple[Store, tuple[Change, ...]]:
    moved = any(change.is_real for change in changes)
    return replace(store, objects=objects, version=store.version + moved), tuple(changes)


def _mapping(parent: dict[str, object], key: str) -> dict[str, object]:
    """`parent[key]` as a dict, made if it is missing or null."""
    value = parent.get(key)
    if not isinstance(value, dict):
        value = {}
        parent[key] = value
    return value
