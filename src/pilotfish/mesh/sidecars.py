"""Sidecars: which one applies to a workload, and what it says of its calls.

One whose selector fits the workload comes first, then its namespace's own, then that of the root namespace; of several
the oldest (`problems` says so).
Source: https://istio.io/latest/docs/reference/config/networking/sidecar/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.grouping import by_namespace
from pilotfish.mesh.hosts import resolve, whole_name
from pilotfish.mesh.inputs import Labels, mesh_config, resource
from pilotfish.model import ObjectRef, Protocol
from pilotfish.model.egress import Egress, EgressListener, Import, Imports, Unclaimed, is_socket
from pilotfish.model.kinds import SIDECAR

Choice = tuple[tuple[ObjectRef, Labels], ...]
"""The Sidecars of which a namespace's workloads get the first whose labels they have."""


@query(index=True)
def choices(db: Reads, namespace: str) -> Choice:
    """For a namespace."""
    own, root = _by_namespace(db), mesh_config(db).root_namespace
    theirs = own.get(root, ()) if root != namespace else ()
    return (*own.get(namespace, ()), *(each for each in theirs if not each[1]))


@query(index=True)
def in_namespace(db: Reads, namespace: str) -> Choice:
    """Those with a selector before those without, each the oldest first."""
    return _by_namespace(db).get(namespace, ())


@query(index=True)
def _by_namespace(db: Reads) -> Mapping[str, Choice]:
    aged = by_namespace(db, SIDECAR, _subject)
    return {namespace: tuple(sorted(listed, key=lambda each: not each[1])) for namespace, listed in aged.items()}


@query
def _subject(db: Reads, ref: ObjectRef) -> tuple[str, Labels] | None:
    """When a Sidecar was made, and for which workloads; no labels for all."""
    found = resource(db, ref, istio.Sidecar)
    if found is None:
        return None
    selector = found.spec.workload_selector
    return found.metadata.creation_timestamp or "", tuple(sorted(selector.labels.items())) if selector else ()


def choose(choice: Choice, labels: Mapping[str, str]) -> ObjectRef | None:
    own = labels.items()
    return next((ref for ref, wanted in choice if set(wanted) <= own), None)


@query
def egress_of(db: Reads, ref: ObjectRef, namespace: str) -> Egress | None:
    """What a Sidecar says of what workloads of a namespace call; None if nothing."""
    found = resource(db, ref, istio.Sidecar)
    if found is None or not (found.spec.egress or found.spec.outbound_traffic_policy):
        return None
    listeners = tuple(_listener(ref, each, namespace) for each in found.spec.egress)
    if listeners == (EgressListener(imports=_EVERYTHING),):
        listeners = ()
    policy = found.spec.outbound_traffic_policy
    return Egress(listeners=listeners, unclaimed=_unclaimed(policy, ref) if policy is not None else None)


_EVERYTHING: Final = Imports((Import("*", "*"),))


def _listener(ref: ObjectRef, source: istio.IstioEgressListener, namespace: str) -> EgressListener:
    is_bound = source.capture_mode == "NONE" or is_socket(source.bind)
    port = source.port or istio.SidecarPort()
    has_place = bool(port.number or source.bind or is_bound)
    return EgressListener(
        imports=_imports(source.hosts, namespace),
        port=port.number,
        protocol=(port.protocol and Protocol.parse(port.protocol)) or Protocol.AUTO,
        bind=source.bind or ("127.0.0.1" if is_bound else ""),
        bound=is_bound,
        ref=ref if has_place else None,
    )


def _imports(hosts: tuple[str, ...], namespace: str) -> Imports:
    """Sorted, so that those who mean the same share. `~/*` among no others is nothing."""
    included: set[Import] = set()
    excluded: set[Import] = set()
    for written in hosts:
        found, is_out = read_import(written, namespace)
        (excluded if is_out else included).add(found)

    def order(each: Import) -> tuple[str, str]:
        return each.namespace, each.host

    kept = tuple(sorted(excluded, key=order)) if included else ()
    return Imports(tuple(sorted(included, key=order)), kept)


def read_import(written: str, namespace: str) -> tuple[Import, bool]:
    """What a Sidecar of a namespace writes as `NAMESPACE/HOST`; and whether that is to be left out."""
    place, _, host = written.partition("/")
    name = place.removeprefix("~")
    return Import(namespace if name == "." else name or "*", whole_name(host)), place.startswith("~")


def _unclaimed(policy: istio.SidecarOutboundTrafficPolicy, ref: ObjectRef) -> Unclaimed:
    proxy = policy.egress_proxy
    if policy.mode != "ALLOW_ANY" or proxy is None:
        return Unclaimed(allow_any=policy.mode == "ALLOW_ANY")
    port = proxy.port.number if proxy.port is not None else 0
    return Unclaimed(allow_any=True, host=resolve(proxy.host, ref.namespace), port=port, subset=proxy.subset)
