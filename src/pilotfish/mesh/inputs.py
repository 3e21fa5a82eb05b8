"""The input tables of discovery: what the user wrote, and what Envoy refused of it.

Every query that wants a user's object asks `effective`, which honours a refusal.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Final, TypeVar

from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.derive import Graph, Input, Reads, query
from pilotfish.model import ObjectRef

KINDS: Final = (
    "Service",
    "Pod",
    "Endpoints",
    "EndpointSlice",
    "VirtualService",
    "DestinationRule",
    "ServiceEntry",
)
"""The kinds that discovery reads. Others may be applied; nothing asks for them."""

TABLES: Final[Mapping[str, Input[ObjectRef, Manifest]]] = {kind: Input(kind) for kind in KINDS}
Labels = tuple[tuple[str, str], ...]
"""Sorted (key, value) pairs."""

_OTHERS: Final[Input[ObjectRef, Manifest]] = Input("Other")
MESH_CONFIG: Final[Input[str, MeshConfig]] = Input("MeshConfig")

LABELLED: Final[Input[tuple[str, str, str], tuple[ObjectRef, ...]]] = Input("Labelled")
"""The pods of (namespace, label, value), sorted. `apply` keeps it, so that no query need look through all pods, and one
that comes or goes is news to none but those who select it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Envoy refused what an object led to; `fallback` is the earlier form to use in its stead, None for none."""

    fallback: Manifest | None


REJECTED: Final[Input[ObjectRef, Refusal]] = Input("Rejected")

R = TypeVar("R")


def apply(graph: Graph, changes: Mapping[ObjectRef, Manifest | None]) -> bool:
    """Set objects, or remove them with None. True if that changed anything."""
    by_table: dict[Input[ObjectRef, Manifest], list[tuple[ObjectRef, Manifest | None]]] = {}
    for ref, manifest in changes.items():
        by_table.setdefault(TABLES.get(ref.kind, _OTHERS), []).append((ref, manifest))
    _apply_labels(graph, changes)
    changed = [graph.update(table, items) for table, items in by_table.items()]
    return any(changed)


def _apply_labels(graph: Graph, changes: Mapping[ObjectRef, Manifest | None]) -> None:
    """Move pods between the sets of `LABELLED`. To be called while the graph still has them as they were."""
    moved: dict[tuple[str, str, str], list[ObjectRef]] = {}
    for ref, manifest in changes.items():
        if ref.kind == "Pod":
            for label, value in _labels(manifest) ^ _labels(graph.peek(TABLES["Pod"], ref)):
                key = (ref.namespace, label, value)
                if key not in moved:
                    present = graph.peek(LABELLED, key)
                    moved[key] = list(present or ())
                _toggle(moved[key], ref)
    graph.update(LABELLED, ((key, tuple(members) or None) for key, members in moved.items()))


def _toggle(members: list[ObjectRef], ref: ObjectRef) -> None:
    place = bisect_left(members, ref)
    if place < len(members) and members[place] == ref:
        del members[place]
    else:
        members.insert(place, ref)


def _labels(manifest: Manifest | None) -> Set[tuple[str, str]]:
    return manifest.resource.metadata.labels.items() if manifest is not None else frozenset()


def apply_mesh_config(graph: Graph, config: MeshConfig) -> bool:
    """Set the mesh configuration. True if that changed anything."""
    return graph.set(MESH_CONFIG, "", config)


def reject(graph: Graph, ref: ObjectRef, fallback: Manifest | None) -> bool:
    """Use `fallback`, or nothing, in the object's stead until it is readmitted. True if that changed anything."""
    return graph.set(REJECTED, ref, Refusal(fallback))


def readmit(graph: Graph, ref: ObjectRef) -> bool:
    """Use the object as it was applied. True if it had been rejected."""
    return graph.set(REJECTED, ref, None)


def mesh_config(db: Reads) -> MeshConfig:
    """The mesh configuration in force: Istio's defaults where none was given."""
    return db.read(MESH_CONFIG, "") or MeshConfig()


def refs(db: Reads, kind: str) -> tuple[ObjectRef, ...]:
    """All objects of a kind, sorted. For index queries: what reads this re-runs as objects come and go."""
    return db.keys(TABLES[kind])


@query
def effective(db: Reads, ref: ObjectRef) -> Manifest | None:
    """The object to use: as applied, or its fallback if Envoy refused it."""
    refusal = db.read(REJECTED, ref)
    applied = db.read(TABLES[ref.kind], ref)
    return applied if refusal is None or applied is None else refusal.fallback


def resource(db: Reads, ref: ObjectRef, kind: type[R]) -> R | None:
    """The typed resource of an object in force; None if there is none, or if it is not of that kind."""
    manifest = effective(db, ref)
    return manifest.resource if manifest is not None and isinstance(manifest.resource, kind) else None
