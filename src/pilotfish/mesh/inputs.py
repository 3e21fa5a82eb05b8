"""The input tables of discovery: what the user wrote, and what Envoy refused of it.

Every query that wants a user's object asks `effective`, which honours a refusal.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Final, TypeVar

from pilotfish.config import istio, kubernetes
from pilotfish.config.kubernetes import TRAFFIC_DISTRIBUTION, Resource
from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.config.proxying import machine_of
from pilotfish.derive import Graph, Input, Reads, query
from pilotfish.mesh.allocation import WANTED, allocate, hosts_without_address, written_places
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.kinds import KINDS
from pilotfish.model.wellknown import SERVICE_OF_SLICE

TABLES: Final[Mapping[Kind, Input[ObjectRef, Manifest]]] = {kind: Input(kind.name) for kind in KINDS if kind.discovery}
"""The kinds that discovery reads. Others may be applied; nothing asks for them."""

Labels = tuple[tuple[str, str], ...]
"""Sorted (key, value) pairs."""

_OTHERS: Final[Input[ObjectRef, Manifest]] = Input("Other")
MESH_CONFIG: Final[Input[str, MeshConfig]] = Input("MeshConfig")

LABELLED: Final[Input[tuple[str, str, str], tuple[ObjectRef, ...]]] = Input("Labelled")
"""The pods and WorkloadEntries of (namespace, label, value), sorted. `apply` keeps it, so that no query need look
through all of them, and one that comes or goes is news to none but those who select it."""


LISTED: Final[Input[str, tuple[ObjectRef, ...]]] = Input("Listed")
"""The Endpoints, EndpointSlices, ServiceEntries and WorkloadEntries that list an address, sorted. Kept by `apply`, so
that a workload finds those that list it, and one address that comes or goes is news to none but its own."""

SLICED: Final[Input[tuple[str, str], tuple[ObjectRef, ...]]] = Input("Sliced")
"""The EndpointSlices of (namespace, Service), sorted. Kept by `apply`: in a cluster there are as many as Services, and
they change as pods do."""

EXTERNAL_NAMES: Final[Input[ObjectRef, bool]] = Input("ExternalNames")
"""The Services of type ExternalName. Kept by `apply`, so that no query need look through all Services."""

MARKED: Final[Input[str, tuple[ObjectRef, ...]]] = Input("Marked")
"""The Services, ServiceEntries and Namespaces (`NEAREST`), and the ServiceEntries (`LOOKED_UP`), that ask for what few
ask for, sorted. Kept by `apply`, so that no query need look through all."""
NEAREST: Final = "nearest"
LOOKED_UP: Final = "looked up"

ADDRESSED: Final[Input[str, tuple[ObjectRef, ...]]] = Input("Addressed")
"""The pods and Services that have an address for themselves, sorted."""

HOUSED: Final[Input[str, tuple[ObjectRef, ...]]] = Input("Housed")
"""The pods of a machine, by its name, that its one proxy serves, sorted."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Envoy refused what an object led to; `fallback` is the earlier form to use in its stead, None for none."""

    fallback: Manifest | None


REJECTED: Final[Input[ObjectRef, Refusal]] = Input("Rejected")

R = TypeVar("R")
K = TypeVar("K", bound=Hashable)


def apply(graph: Graph, changes: Mapping[ObjectRef, Manifest | None]) -> bool:
    """Set objects, or remove them with None. True if that changed anything."""
    by_table: dict[Input[ObjectRef, Manifest], list[tuple[ObjectRef, Manifest | None]]] = {}
    for ref, manifest in changes.items():
        by_table.setdefault(TABLES.get(ref.kind, _OTHERS), []).append((ref, manifest))
    _reindex(graph, ((ref, _forms(graph, ref), (m, _fallback(graph, ref))) for ref, m in changes.items()))
    graph.update(EXTERNAL_NAMES, ((ref, _is_external_name(m) or None) for ref, m in changes.items()))
    changed = [graph.update(table, items) for table, items in by_table.items()]
    return any(changed)


_Forms = tuple[Manifest | None, ...]
"""An object's forms of which one may be in force: as applied, and its fallback if Envoy refused it."""


def _reindex(graph: Graph, moves: Iterable[tuple[ObjectRef, _Forms, _Forms]]) -> None:
    """Move objects between the sets of `LABELLED`, `LISTED`, `ADDRESSED`, `HOUSED`, `SLICED`, `MARKED` and `WANTED`:
    each from what it was to what it will be."""
    listed = tuple(moves)
    # All are worked out before any is changed: an object that fails is to leave no half of it behind.
    labelled = _moved(graph, LABELLED, listed, _labels_of)
    others = _moved(graph, LISTED, listed, _addresses_of)
    addressed = _moved(graph, ADDRESSED, listed, _own_addresses_of)
    housed = _moved(graph, HOUSED, listed, _machines_of)
    sliced = _moved(graph, SLICED, listed, _services_of)
    marked = _moved(graph, MARKED, listed, _marks_of)
    wanted = _moved(graph, WANTED, listed, lambda manifest: hosts_without_address(manifest.resource))
    forms = [form for _, _, after in listed for form in after if form is not None]
    ages = dict(_ages(forms)) if wanted else {}
    written = {host: place for form in forms for host, place in written_places(form.resource).items()}
    graph.update(LABELLED, labelled.items())
    graph.update(LISTED, others.items())
    graph.update(ADDRESSED, addressed.items())
    graph.update(HOUSED, housed.items())
    graph.update(SLICED, sliced.items())
    graph.update(MARKED, marked.items())
    graph.update(WANTED, wanted.items())
    if wanted or written:
        allocate(graph, sorted(wanted, key=lambda host: (ages.get(host, ""), host)), written)


def _ages(manifests: Iterable[Manifest]) -> Iterator[tuple[str, str]]:
    """(host, when its ServiceEntry was made)."""
    for manifest in manifests:
        for host in hosts_without_address(manifest.resource):
            yield host, manifest.resource.metadata.creation_timestamp or ""


def _moved(
    graph: Graph,
    table: Input[K, tuple[ObjectRef, ...]],
    moves: Iterable[tuple[ObjectRef, _Forms, _Forms]],
    keys_of: Callable[[Manifest], Set[K]],
) -> dict[K, tuple[ObjectRef, ...] | None]:
    """The keys whose sets change, and what they become."""
    moved: dict[K, list[ObjectRef]] = {}
    for ref, before, after in moves:
        old = {key for form in before if form is not None for key in keys_of(form)}
        new = {key for form in after if form is not None for key in keys_of(form)}
        for key in old ^ new:
            if key not in moved:
                present = graph.peek(table, key)
                moved[key] = list(present or ())
            _toggle(moved[key], ref)
    return {key: tuple(members) or None for key, members in moved.items()}


def _forms(graph: Graph, ref: ObjectRef) -> _Forms:
    return _applied(graph, ref), _fallback(graph, ref)


def _applied(graph: Graph, ref: ObjectRef) -> Manifest | None:
    return graph.peek(TABLES[ref.kind], ref) if ref.kind in TABLES else None


def _fallback(graph: Graph, ref: ObjectRef) -> Manifest | None:
    refusal = graph.peek(REJECTED, ref)
    return refusal.fallback if refusal is not None else None


def _toggle(members: list[ObjectRef], ref: ObjectRef) -> None:
    place = bisect_left(members, ref)
    if place < len(members) and members[place] == ref:
        del members[place]
    else:
        members.insert(place, ref)


def _labels_of(manifest: Manifest) -> Set[tuple[str, str, str]]:
    namespace = manifest.ref.namespace
    return {(namespace, label, value) for label, value in labels_of(manifest.resource).items()}


def labels_of(source: Resource) -> Mapping[str, str]:
    """Those by which a pod or a WorkloadEntry is selected; none of other objects."""
    match source:
        case kubernetes.Pod(metadata=metadata):
            return metadata.labels
        case istio.WorkloadEntry(metadata=metadata, spec=spec):
            return {**spec.labels, **metadata.labels}
        case _:
            return {}


def _addresses_of(manifest: Manifest) -> Set[str]:
    match manifest.resource:
        case kubernetes.Endpoints(subsets=subsets):
            return {a.ip for subset in subsets for a in (*subset.addresses, *subset.not_ready_addresses)}
        case kubernetes.EndpointSlice(endpoints=listed):
            return {address for endpoint in listed for address in endpoint.addresses}
        case istio.WorkloadEntry(spec=spec):
            return {spec.address}
        case istio.ServiceEntry(spec=spec):
            return {endpoint.address for endpoint in spec.endpoints}
        case _:
            return frozenset()


def _services_of(manifest: Manifest) -> Set[tuple[str, str]]:
    if not isinstance(manifest.resource, kubernetes.EndpointSlice):
        return frozenset()
    name = manifest.resource.metadata.labels.get(SERVICE_OF_SLICE)
    return {(manifest.ref.namespace, name)} if name else frozenset()


def _marks_of(manifest: Manifest) -> frozenset[str]:
    match manifest.resource:
        case kubernetes.Service(spec=spec) if spec.traffic_distribution:
            marks = {NEAREST}
        case kubernetes.Service(metadata=metadata) | kubernetes.Namespace(metadata=metadata):
            marks = {NEAREST} if TRAFFIC_DISTRIBUTION in metadata.annotations else set()
        case istio.ServiceEntry(metadata=metadata, spec=entry):
            marks = {NEAREST} if TRAFFIC_DISTRIBUTION in metadata.annotations else set()
            marks |= {LOOKED_UP} if entry.resolution == "DYNAMIC_DNS" else set()
        case _:
            return frozenset()
    return frozenset(marks)


def _is_external_name(manifest: Manifest | None) -> bool:
    source = manifest.resource if manifest is not None else None
    return isinstance(source, kubernetes.Service) and source.spec.type == "ExternalName"


def _own_addresses_of(manifest: Manifest) -> Set[str]:
    match manifest.resource:
        case kubernetes.Pod(status=status):
            return {address for address in (status.pod_ip, *(ip.ip for ip in status.pod_ips)) if address}
        case kubernetes.Service(spec=spec):
            return {address for address in (spec.cluster_ip, *spec.cluster_ips) if address not in ("", "None")}
    return frozenset()


def _machines_of(manifest: Manifest) -> Set[str]:
    machine = machine_of(manifest.resource) if isinstance(manifest.resource, kubernetes.Pod) else ""
    return {machine} if machine else frozenset()


def apply_mesh_config(graph: Graph, config: MeshConfig) -> bool:
    """Set the mesh configuration. True if that changed anything."""
    return graph.set(MESH_CONFIG, "", config)


def reject(graph: Graph, ref: ObjectRef, fallback: Manifest | None) -> bool:
    """Use `fallback`, or nothing, in the object's stead until it is readmitted. True if that changed anything."""
    _reindex(graph, ((ref, _forms(graph, ref), (_applied(graph, ref), fallback)),))
    return graph.set(REJECTED, ref, Refusal(fallback))


def readmit(graph: Graph, ref: ObjectRef) -> bool:
    """Use the object as it was applied. True if it had been rejected."""
    _reindex(graph, ((ref, _forms(graph, ref), (_applied(graph, ref),)),))
    return graph.set(REJECTED, ref, None)


def mesh_config(db: Reads) -> MeshConfig:
    """The mesh configuration in force: Istio's defaults where none was given."""
    return db.read(MESH_CONFIG, "") or MeshConfig()


def refs(db: Reads, kind: Kind) -> tuple[ObjectRef, ...]:
    """All objects of a kind, sorted. For index queries: what reads this re-runs as objects come and go."""
    return db.keys(TABLES[kind])


def listing(db: Reads, address: str) -> tuple[ObjectRef, ...]:
    """The Endpoints, EndpointSlices, ServiceEntries and WorkloadEntries that list an address, sorted."""
    return db.read(LISTED, address) or ()


def housed(db: Reads, machine: str) -> tuple[ObjectRef, ...]:
    """The pods of a machine that its one proxy serves, sorted."""
    return db.read(HOUSED, machine) or ()


def addressed(db: Reads, address: str) -> tuple[ObjectRef, ...]:
    """The pods and Services that have an address for themselves, sorted."""
    return db.read(ADDRESSED, address) or ()


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
