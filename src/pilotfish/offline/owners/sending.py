"""Where something is sent: the destination that a route says, the endpoints that are meant, and how they are called."""

from __future__ import annotations

from typing import Final

from pilotfish.explain.owner import find_ref
from pilotfish.explain.trace import Stage, Step
from pilotfish.model import FieldRef
from pilotfish.offline.owners import fields
from pilotfish.offline.owners.facts import Claims, Facts, as_written
from pilotfish.offline.owners.queries import route_of_connections, rules_of, service_seen

_PARTS: Final = 4
"""Of `outbound|80|v1|web.vm.svc.cluster.local`."""


def claims(facts: Facts, step: Step) -> Claims:
    if step.stage is Stage.CLUSTER:
        yield from decided(facts, step)
        yield from port_of(facts, step.name)
    elif step.stage in (Stage.ENDPOINT, Stage.TLS):
        cluster = facts.before(step, Stage.CLUSTER)
        yield from _treated(facts, step, cluster.name) if cluster is not None else ()
    else:
        yield from as_written(step)


def decided(facts: Facts, step: Step) -> Claims:
    """The destination that a route says."""
    if step.written.field:
        yield from as_written(step)
        return
    listener, ref = facts.before(step, Stage.LISTENER), find_ref(step.written.config)
    if listener is not None and ref is not None:
        yield FieldRef(ref, facts.graph.get(route_of_connections, facts.scope, listener.name, ref, step.name))


def port_of(facts: Facts, cluster: str) -> Claims:
    """Of the service that a cluster is called after."""
    _, port, _, host = _parts(cluster)
    found = facts.graph.get(service_seen, facts.scope, host) if host else None
    if found is not None:
        yield FieldRef(found.ref, fields.service_port(facts.document(found.ref), int(port)))


def _treated(facts: Facts, step: Step, cluster: str) -> Claims:
    _, port, subset, host = _parts(cluster)
    for rule in facts.graph.get(rules_of, facts.scope, host) if host else ():
        document = facts.document(rule)
        if step.stage is Stage.TLS:
            field = fields.policy(document, subset, int(port), "tls")
        elif step.evidence.get("panic"):
            field = fields.policy(document, subset, int(port), "outlierDetection")
        else:
            place = fields.subset(document, subset) if subset else ""
            field = f"{place}.labels" if place else ""
        if field:
            yield FieldRef(rule, field)
    found = facts.graph.get(service_seen, facts.scope, host) if host else None
    if found is not None and step.stage is Stage.ENDPOINT:
        yield FieldRef(found.ref, fields.endpoints(facts.document(found.ref)))


def _parts(cluster: str) -> list[str]:
    """(direction, port, subset, host); all empty for a cluster of no service."""
    parts = cluster.split("|")
    return parts if len(parts) == _PARTS else [""] * _PARTS
