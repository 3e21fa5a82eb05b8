"""Problems of who speaks what with whom: a client's rule against what its servers take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.hosts import resolve
from pilotfish.mesh.inputs import Labels, mesh_config, resource
from pilotfish.mesh.policy.peer_authentication import decisive, peer_modes, speaks_mutual
from pilotfish.mesh.problems.credentials import tls_of
from pilotfish.mesh.problems.routing import warning
from pilotfish.mesh.registry.endpoints import endpoints
from pilotfish.mesh.registry.services import home_in, service_at
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.mutual_tls import MutualTLS
from pilotfish.model.service import Endpoint


@dataclass(frozen=True, slots=True)
class _Asked:
    field: str
    mode: str
    labels: Labels
    """Of the endpoints; none: all."""
    port: int = 0
    """0: all but `others`, which have a policy of their own."""
    others: frozenset[int] = frozenset()

    def covers(self, port: int) -> bool:
        return port == self.port if self.port else port not in self.others


@query
def client_tls_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    """Of a DestinationRule whose clients its servers will not take."""
    rule = resource(db, ref, istio.DestinationRule)
    if rule is None:
        return ()
    host = resolve(rule.spec.host, ref.namespace)
    found = ((each, _refusing(db, host, home_in(db, host, ref.namespace), each)) for each in _asked(rule.spec))
    clashes = tuple(_clash(db, ref, asked, refusing) for asked, refusing in found if refusing is not None)
    return clashes if mesh_config(db).verify_certificate_at_client else (*clashes, *_unread_names(db, ref, rule.spec))


def _unread_names(db: Reads, ref: ObjectRef, spec: istio.DestinationRuleSpec) -> Iterator[Problem]:
    for tls, field in tls_of(spec):
        if tls.mode in ("SIMPLE", "MUTUAL") and tls.subject_alt_names and not _is_verified(tls):
            text = (
                "meshConfig.verifyCertificateAtClient: false has no certificate looked at where no CA is named, and "
                "Envoy compares names of none that it does not verify, so they are not compared; write caCertificates"
            )
            yield warning(db, ref, f"{field}.subjectAltNames", "NotVerified", text)


def _is_verified(tls: istio.ClientTLSSettings) -> bool:
    return bool(tls.ca_certificates or tls.credential_name or tls.ca_cert_credential_name)


def _clash(db: Reads, ref: ObjectRef, asked: _Asked, one: Endpoint) -> Problem:
    policy = decisive(db, one.ref.namespace, one.labels) if one.ref is not None else None
    if asked.mode != "ISTIO_MUTUAL":
        text = (
            f"{one.ref} takes nothing but mutual TLS at port {one.port}, as {policy} says, so that what clients send "
            f"there by {asked.mode} is refused; remove tls, or write mode: ISTIO_MUTUAL"
        )
        return warning(db, ref, asked.field, "RefusedByPeer", text)
    why = f"as {policy} says" if one.mutual else "as it has no proxy"
    text = (
        f"{one.ref} ends no mutual TLS at port {one.port}, {why}, so that requests to it are answered 503; remove tls: "
        "clients speak mutual TLS with all that can"
    )
    return warning(db, ref, asked.field, "NoMutualTLS", text)


def _refusing(db: Reads, host: str, home: str, asked: _Asked) -> Endpoint | None:
    """An endpoint that does not take what is asked for."""
    found = service_at(db, host, home)
    if found is None or found.external:
        return None
    listed = (each for p in found.ports if asked.covers(p.number) for each in endpoints(db, host, home, p.number))
    meant = (each for each in listed if each.has_labels(asked.labels))
    if asked.mode == "ISTIO_MUTUAL":
        return next((each for each in meant if not speaks_mutual(db, each)), None)
    return next((each for each in meant if _is_strict(db, each)), None)


def _is_strict(db: Reads, endpoint: Endpoint) -> bool:
    if not endpoint.mutual or endpoint.ref is None:
        return False
    return peer_modes(db, endpoint.ref.namespace, endpoint.labels).of(endpoint.port) is MutualTLS.STRICT


def _asked(spec: istio.DestinationRuleSpec) -> Iterator[_Asked]:
    yield from _of_policy(spec.traffic_policy, "spec.trafficPolicy", ())
    for i, subset in enumerate(spec.subsets):
        labels = tuple(sorted(subset.labels.items()))
        yield from _of_policy(subset.traffic_policy, f"spec.subsets[{i}].trafficPolicy", labels)


def _of_policy(policy: istio.TrafficPolicy | None, field: str, labels: Labels) -> Iterator[_Asked]:
    if policy is None:
        return
    if policy.tls is not None:
        others = frozenset(each.port.number for each in policy.port_level_settings)
        yield _Asked(f"{field}.tls", policy.tls.mode, labels, others=others)
    for i, each in enumerate(policy.port_level_settings):
        if each.tls is not None:
            yield _Asked(f"{field}.portLevelSettings[{i}].tls", each.tls.mode, labels, each.port.number)
