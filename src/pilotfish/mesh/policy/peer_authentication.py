"""PeerAuthentications: what a workload takes from its clients, by port.

Of each rank (the workload, its namespace, the root namespace) the oldest counts; what it leaves unset is the next
rank's. Source: https://istio.io/latest/docs/reference/config/security/peer_authentication/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.grouping import by_namespace
from pilotfish.mesh.inputs import Labels, mesh_config, refs, resource
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import PEER_AUTHENTICATION
from pilotfish.model.mutual_tls import MutualTLS, PeerModes
from pilotfish.model.service import Endpoint

Choice = tuple[tuple[ObjectRef, Labels], ...]
"""PeerAuthentications with the labels of whom they are for, none for all; the oldest first."""
_UNSET: Final = "UNSET"


@query
def peer_modes(db: Reads, namespace: str, labels: Labels) -> PeerModes:
    """Of a namespace's workloads that have these labels."""
    found = (resource(db, ref, istio.PeerAuthentication) for ref in _ranks(db, namespace, labels))
    return compose(each.spec for each in found if each is not None)


@query
def decisive(db: Reads, namespace: str, labels: Labels) -> ObjectRef | None:
    """Who says what these workloads take; None where nobody does."""
    return next((ref for ref in reversed(_ranks(db, namespace, labels)) if _says(db, ref)), None)


def _says(db: Reads, ref: ObjectRef) -> bool:
    found = resource(db, ref, istio.PeerAuthentication)
    return found is not None and (found.spec.mtls.mode != _UNSET or bool(found.spec.port_level_mtls))


def _ranks(db: Reads, namespace: str, labels: Labels) -> tuple[ObjectRef, ...]:
    """Those that count for these workloads, the nearest last."""
    root = mesh_config(db).root_namespace
    own = in_namespace(db, namespace) if namespace != root else ()
    chosen = (for_namespace(in_namespace(db, root)), for_namespace(own), for_workload(own, labels))
    return tuple(ref for ref in chosen if ref is not None)


def speaks_mutual(db: Reads, endpoint: Endpoint) -> bool:
    """Whether clients may speak mutual TLS with it."""
    if not endpoint.mutual or endpoint.ref is None:
        return False
    if not _some_disabled(db):
        return True
    return peer_modes(db, endpoint.ref.namespace, endpoint.labels).of(endpoint.port) is not MutualTLS.DISABLE


@query(index=True)
def _some_disabled(db: Reads) -> bool:
    """Few meshes have a PeerAuthentication that says DISABLE; in the others no endpoint need be asked for."""
    found = (resource(db, ref, istio.PeerAuthentication) for ref in refs(db, PEER_AUTHENTICATION))
    modes = (
        mode
        for each in found
        if each is not None
        for mode in (each.spec.mtls, *(each.spec.port_level_mtls or {}).values())
    )
    return any(mode.mode == MutualTLS.DISABLE for mode in modes)


def compose(ranks: Iterable[istio.PeerAuthenticationSpec]) -> PeerModes:
    """The nearest last."""
    default, ports = MutualTLS.PERMISSIVE, dict[int, MutualTLS]()
    for spec in ranks:
        default = _mode(spec.mtls.mode, default)
        chosen = (spec.port_level_mtls or {}) if spec.selector is not None else {}
        ports = {int(port): _mode(each.mode, default) for port, each in chosen.items()}
    return PeerModes(default, tuple(sorted(ports.items())))


def for_namespace(choice: Choice) -> ObjectRef | None:
    """The one that counts for workloads which none selects."""
    return next((ref for ref, wanted in choice if not wanted), None)


def for_workload(choice: Choice, labels: Labels) -> ObjectRef | None:
    return next((ref for ref, wanted in choice if wanted and set(wanted) <= set(labels)), None)


def in_namespace(db: Reads, namespace: str) -> Choice:
    return _by_namespace(db).get(namespace, ())


@query(index=True)
def _by_namespace(db: Reads) -> Mapping[str, Choice]:
    return by_namespace(db, PEER_AUTHENTICATION, _subject)


@query
def _subject(db: Reads, ref: ObjectRef) -> tuple[str, Labels] | None:
    """When it was made, and for whom."""
    found = resource(db, ref, istio.PeerAuthentication)
    if found is None:
        return None
    selector = found.spec.selector
    return found.metadata.creation_timestamp or "", tuple(sorted(selector.match_labels.items())) if selector else ()


def _mode(written: str, inherited: MutualTLS) -> MutualTLS:
    return inherited if written == _UNSET else MutualTLS(written)
