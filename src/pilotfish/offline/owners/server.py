"""At the pod that is called: the Service's port that leads to a port of it, or the Sidecar's; and its policies."""

from __future__ import annotations

from pilotfish.explain.trace import Stage, Step
from pilotfish.mesh.listeners.inbound import workload_labels
from pilotfish.mesh.policy.peer_authentication import decisive
from pilotfish.model import FieldRef
from pilotfish.model.kinds import SIDECAR
from pilotfish.offline.owners import fields
from pilotfish.offline.owners.facts import Claims, Facts, as_written
from pilotfish.offline.owners.queries import inbound_port

_BELOW = {Stage.CLUSTER: "targetPort", Stage.APP: "targetPort"}
"""What of the Service's port decides."""


def claims(facts: Facts, step: Step) -> Claims:
    if step.stage in (Stage.HTTP_FILTER, Stage.NETWORK_FILTER):
        yield from as_written(step)
    if step.stage is Stage.FILTER_CHAIN and step.evidence.get("mutual"):
        yield from _who_asks_for_certificates(facts, step)
    number = _port(facts, step)
    found = facts.graph.get(inbound_port, facts.proxy, int(number)) if number.isdecimal() else None
    if found is None:
        return
    document = facts.document(found.ref)
    if found.ref.kind is SIDECAR:
        yield FieldRef(found.ref, fields.ingress(document, int(number)))
    else:
        yield FieldRef(found.ref, fields.service_port(document, found.port, _BELOW.get(step.stage, "")))


def _who_asks_for_certificates(facts: Facts, step: Step) -> Claims:
    labels = facts.graph.get(workload_labels, facts.proxy)
    found = facts.graph.get(decisive, facts.proxy.namespace, labels)
    if found is not None:
        yield FieldRef(found, fields.peer_mode(facts.document(found), str(step.evidence["port"])))


def _port(facts: Facts, step: Step) -> str:
    """The port that the step is about; "" where it is about none."""
    match step.stage:
        case Stage.APP:
            return step.name.rpartition(":")[2]
        case Stage.LISTENER_FILTER:
            return str(step.evidence.get("port", ""))
        case Stage.FILTER_CHAIN:
            return step.name.rpartition("_")[2]
        case Stage.VIRTUAL_HOST | Stage.CLUSTER:
            chain = facts.before(step, Stage.FILTER_CHAIN)
            return chain.name.rpartition("_")[2] if chain is not None else ""
        case _:
            return ""
