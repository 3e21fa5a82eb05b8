"""At a gateway: its servers, and the VirtualServices that are bound to it."""

from __future__ import annotations

from pilotfish.explain.owner import find_ref
from pilotfish.explain.trace import Stage, Step, Verdict
from pilotfish.mesh.gateways.selection import Front, front_of
from pilotfish.model import FieldRef
from pilotfish.offline.owners import sending
from pilotfish.offline.owners.facts import Claims, Facts, as_written
from pilotfish.offline.owners.queries import gateway_server, nearest_host, route_at_gateway


def claims(facts: Facts, step: Step) -> Claims:
    front, listener = front_of(facts.graph, facts.proxy), facts.before(step, Stage.LISTENER)
    if step.stage is Stage.LISTENER:
        yield from gateway_server(facts.graph, front, step.name, "", "port")
    elif listener is not None:
        yield from _behind(facts, step, front, listener.name)


def _behind(facts: Facts, step: Step, front: Front, listener: str) -> Claims:
    graph, is_refused = facts.graph, step.verdict is Verdict.REFUSED
    match step.stage:
        case Stage.VIRTUAL_HOST | Stage.ROUTE if is_refused:
            yield from as_written(step)
            host = str(step.evidence.get("host", ""))
            servers = tuple(gateway_server(graph, front, listener, "", "hosts"))
            near = graph.get(nearest_host, facts.scope, tuple(dict.fromkeys(each.object for each in servers)), host)
            yield from (near,) if near is not None else servers
        case Stage.VIRTUAL_HOST:
            yield from gateway_server(graph, front, listener, step.name.rpartition(":")[0], "hosts")
            yield from gateway_server(graph, front, listener, "", "hosts")
        case Stage.TLS if facts.before(step, Stage.CLUSTER) is None:
            yield from gateway_server(graph, front, listener, step.name, "tls")
        case Stage.CLUSTER if not step.written.field and (ref := find_ref(step.written.config)) is not None:
            yield FieldRef(ref, graph.get(route_at_gateway, front, facts.scope, listener, ref, step.name))
        case _:
            yield from sending.claims(facts, step)
