"""Which policies hold for which workloads: those of the root namespace and of the workload's own.

A policy that Envoy refused and that has no earlier form still holds, and closes what it is for: `refused`.
Source: https://istio.io/latest/docs/reference/config/security/authorization-policy/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pilotfish.config import istio
from pilotfish.config.manifest import Manifest
from pilotfish.derive import Reads, query
from pilotfish.mesh.grouping import by_namespace
from pilotfish.mesh.inputs import REJECTED, TABLES, Labels, effective, mesh_config
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.proxy import ProxyType

GATEWAY_LABELS: Final = ("gateway.networking.k8s.io/gateway-name", "istio.io/gateway-name")
"""By which the pods of a Gateway of the Gateway API are known."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a policy is for."""

    labels: Labels = ()
    """Of workloads; none: all of them."""
    gateways: tuple[str, ...] | None = None
    """The Gateways of the Gateway API whose pods are meant; None: it is not said by name."""

    def covers(self, labels: Mapping[str, str], type: ProxyType) -> bool:
        if self.gateways is None:
            return set(self.labels) <= labels.items()
        named = {labels.get(label) for label in GATEWAY_LABELS}
        return type is ProxyType.ROUTER and not named.isdisjoint(self.gateways)


Listed = tuple[tuple[ObjectRef, Subject], ...]


def covering(of_root: Listed, own: Listed, labels: Mapping[str, str], type: ProxyType) -> Iterator[ObjectRef]:
    """Those that hold for a workload, in order."""
    yield from (ref for ref, subject in (*of_root, *own) if subject.covers(labels, type))


@query(index=True)
def of_root(db: Reads, kind: Kind, namespace: str) -> Listed:
    """The policies of the root namespace, as seen from another one; the oldest first. None as seen from itself."""
    root = mesh_config(db).root_namespace
    return in_namespace(db, kind, root) if root != namespace else ()


@query(index=True)
def in_namespace(db: Reads, kind: Kind, namespace: str) -> Listed:
    """The oldest first."""
    return _by_namespace(db, kind).get(namespace, ())


@query(index=True)
def _by_namespace(db: Reads, kind: Kind) -> Mapping[str, Listed]:
    return by_namespace(db, kind, _about)


def subject_of(db: Reads, ref: ObjectRef) -> Subject:
    about = _about(db, ref)
    return about[1] if about is not None else Subject()


@query
def _about(db: Reads, ref: ObjectRef) -> tuple[str, Subject] | None:
    """When it was made, and for whom."""
    manifest = effective(db, ref) or refused(db, ref)
    source = manifest.resource if manifest is not None else None
    if not isinstance(source, istio.AuthorizationPolicy | istio.RequestAuthentication):
        return None
    return source.metadata.creation_timestamp or "", _subject(source.spec)


def refused(db: Reads, ref: ObjectRef) -> Manifest | None:
    """What Envoy refused, and nothing stands for."""
    refusal = db.read(REJECTED, ref)
    return db.read(TABLES[ref.kind], ref) if refusal is not None and refusal.fallback is None else None


def _subject(spec: istio.AuthorizationPolicySpec | istio.RequestAuthenticationSpec) -> Subject:
    targets = (*((spec.target_ref,) if spec.target_ref is not None else ()), *spec.target_refs)
    if targets:
        return Subject(gateways=tuple(each.name for each in targets if each.kind == "Gateway"))
    return Subject(tuple(sorted(spec.selector.match_labels.items())) if spec.selector is not None else ())
