"""At the pod that calls: names and ports of Services, what its Sidecar lets it see, and where routes send."""

from __future__ import annotations

from typing import Final

from pilotfish.explain.trace import Stage, Step, Verdict
from pilotfish.model import FieldRef, ObjectRef
from pilotfish.model.kinds import SERVICE_ENTRY
from pilotfish.offline.owners import fields, sending
from pilotfish.offline.owners.facts import Claims, Facts
from pilotfish.offline.owners.queries import Egressed, egress_entry, is_hidden, listener_service, service_seen

_FALLBACKS: Final = ("allow_any", "block_all")
"""The virtual hosts of what no service has."""


def claims(facts: Facts, step: Step) -> Claims:
    match step.stage:
        case Stage.DNS:
            yield from _hidden(facts, step) if step.verdict is Verdict.REFUSED else _called(facts, step.name)
        case Stage.LISTENER:
            yield from _listening(facts, step.name)
        case Stage.LISTENER_FILTER:
            listener = facts.before(step, Stage.LISTENER)
            yield from _listening(facts, listener.name) if listener is not None else ()
        case Stage.FILTER_CHAIN:
            yield from _connected(facts, step)
        case Stage.VIRTUAL_HOST:
            yield from _imported(facts, step)
        case _:
            yield from sending.claims(facts, step)


def _called(facts: Facts, host: str) -> Claims:
    found = facts.graph.get(service_seen, facts.scope, host)
    if found is not None:
        is_entry = found.ref.kind is SERVICE_ENTRY
        yield FieldRef(found.ref, fields.entry_host(facts.document(found.ref), host) if is_entry else "metadata.name")


def _hidden(facts: Facts, step: Step) -> Claims:
    """The Sidecar that does not import a service of the mesh."""
    names = (step.name, *(each.name for each in step.rejected))
    if facts.sidecar is not None and any(facts.graph.get(is_hidden, facts.scope, name) for name in names):
        yield FieldRef(facts.sidecar, "spec.egress")


def _listening(facts: Facts, name: str) -> Claims:
    place = facts.graph.get(listener_service, facts.scope, name)
    if place is not None:
        yield from _egress(facts, Egressed(place.port))
        if place.host:
            yield from sending.port_of(facts, f"outbound|{place.port}||{place.host}")


def _connected(facts: Facts, step: Step) -> Claims:
    """A chain for connections is that of the route that says where they go."""
    cluster = facts.behind(step, Stage.CLUSTER)
    if cluster is not None and facts.behind(step, Stage.ROUTE_CONFIG) is None:
        for claim in sending.decided(facts, cluster):
            yield FieldRef(claim.object, claim.field.partition(".route[")[0])
        yield from sending.port_of(facts, cluster.name)


def _imported(facts: Facts, step: Step) -> Claims:
    host, _, port = step.name.rpartition(":")
    if step.name in _FALLBACKS or not port.isdecimal():
        yield from _unclaimed(facts, step, facts.sidecar) if facts.sidecar is not None else ()
        return
    found = facts.graph.get(service_seen, facts.scope, host)
    if found is not None:
        yield from _egress(facts, Egressed(int(port), host, found.namespace))
    yield from sending.port_of(facts, f"outbound|{port}||{host}")


def _unclaimed(facts: Facts, step: Step, sidecar: ObjectRef) -> Claims:
    """What the Sidecar does not import, or what it says of all that nobody has."""
    called = facts.before(step, Stage.DNS)
    if called is not None and facts.graph.get(is_hidden, facts.scope, called.name):
        yield FieldRef(sidecar, "spec.egress")
    if "outboundTrafficPolicy" in (facts.document(sidecar).get("spec") or {}):
        yield FieldRef(sidecar, "spec.outboundTrafficPolicy")


def _egress(facts: Facts, wanted: Egressed) -> Claims:
    sidecar = facts.sidecar
    field = egress_entry(facts.document(sidecar), sidecar.namespace, wanted) if sidecar is not None else ""
    if sidecar is not None and field:
        yield FieldRef(sidecar, field)
