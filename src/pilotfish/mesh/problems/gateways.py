"""Problems of Gateways: servers that older ones leave nothing to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pilotfish.derive import Reads, query
from pilotfish.mesh.gateways.merging import Clash, Conflict, merged
from pilotfish.mesh.gateways.selection import Front, selectors
from pilotfish.mesh.gateways.servers import lacking_secrets, names_secrets, servers
from pilotfish.mesh.inputs import LABELLED, Labels, refs
from pilotfish.mesh.listeners.inbound import served_ports
from pilotfish.mesh.problems.routing import warning
from pilotfish.mesh.registry.workloads import workload
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.kinds import POD
from pilotfish.model.wellknown import ROOT_NAMESPACE


@query
def gateway_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    lost = (_described(db, conflict) for conflict in _lost_by(db, ref))
    return (*lost, *_without_secrets(db, ref), *_without_service(db, ref))


def _without_service(db: Reads, ref: ObjectRef) -> Iterator[Problem]:
    """Ports to which no Service leads, each once, where the gateway's pods are the user's own."""
    led = _ports_led_to(db, ref)
    if led is None:
        return
    open_to_all = {server.port: server for server in reversed(servers(db, ref)) if server.port and not server.bind}
    for port, server in sorted(open_to_all.items()):
        if port not in led:
            what = (
                f"no Service leads to port {port} of the gateway's pods, so that in a cluster no client comes in there"
            )
            text = f"{what}; add the port to a Service that selects them"
            yield warning(db, ref, f"{server.ref.field}.port.number", "PortWithoutService", text)


@query(index=True)
def _ports_led_to(db: Reads, ref: ObjectRef) -> frozenset[int] | None:
    """Of the pods that a Gateway selects, as Services and as the pods themselves have them; None if there are none."""
    labels = next((labels for gateway, labels in selectors(db) if gateway == ref), ())
    listed = (_pods_with(db, namespace, labels) for namespace in _pods_in(db)) if labels else ()
    pods = [found for refs_of in listed for pod in refs_of if (found := workload(db, pod)) is not None]
    ports = (port for pod in pods for port in served_ports(db, pod.ref, pod.labels, pod.addresses))
    return frozenset(n for port in ports for n in (port.number, *(n for *_, n in port.serves))) if pods else None


def _without_secrets(db: Reads, ref: ObjectRef) -> Iterator[Problem]:
    """Where its pods run that are there."""
    if not names_secrets(db, ref):
        return
    for namespace in namespaces_of(db, ref):
        for server in servers(db, ref):
            for field, why in lacking_secrets(db, namespace, server):
                text = f"{why.message}: every handshake with this server fails until it can be used; {why.remedy}"
                yield warning(db, ref, f"{server.ref.field}.tls.{field}", why.lack, text)


@query(index=True)
def namespaces_of(db: Reads, gateway: ObjectRef) -> tuple[str, ...]:
    """Of the pods that a Gateway selects; where there are none, the mesh runs it where Istio's installation does."""
    labels = next((labels for ref, labels in selectors(db) if ref == gateway), ())
    found = tuple(namespace for namespace in _pods_in(db) if labels and _are_in(db, namespace, labels))
    return found or (ROOT_NAMESPACE,)


@query(index=True)
def _pods_in(db: Reads) -> tuple[str, ...]:
    return tuple(sorted({pod.namespace for pod in refs(db, POD)}))


def _are_in(db: Reads, namespace: str, labels: Labels) -> bool:
    """Whether some pod of a namespace has all these labels."""
    return bool(_pods_with(db, namespace, labels))


def _pods_with(db: Reads, namespace: str, labels: Labels) -> frozenset[ObjectRef]:
    listed = (db.read(LABELLED, (namespace, key, value)) for key, value in labels)
    sets = [frozenset(pods or ()) for pods in listed]
    return sets[0].intersection(*sets[1:])


def _described(db: Reads, conflict: Conflict) -> Problem:
    ref, field = conflict.loser.object, conflict.loser.field
    if conflict.clash is Clash.HOST:
        names = ", ".join(name or "*" for name in conflict.names)
        text = f"{conflict.winner} is older and has {names} on this port, so this server is not opened; remove one"
        return warning(db, ref, f"{field}.hosts", conflict.clash, text)
    text = (
        f"{conflict.winner} is older and has this port for another protocol, so this server is not opened; give each "
        f"its own port: only servers of HTTP share one, and those that a server name tells apart (HTTPS, TLS)"
    )
    return warning(db, ref, f"{field}.port", conflict.clash, text)


@query(index=True)
def _lost_by(db: Reads, ref: ObjectRef) -> tuple[Conflict, ...]:
    return _conflicts(db).get(ref, ())


@query(index=True)
def _conflicts(db: Reads) -> Mapping[ObjectRef, tuple[Conflict, ...]]:
    """By who lost, at pods with just the labels of some Gateway's selector."""
    found: dict[ObjectRef, dict[Conflict, None]] = {}
    for labels in dict.fromkeys(labels for _, labels in selectors(db)):
        for conflict in merged(db, front_with(db, labels)).conflicts:
            found.setdefault(conflict.loser.object, {})[conflict] = None
    return {ref: tuple(conflicts) for ref, conflicts in found.items()}


@query(index=True)
def front_with(db: Reads, labels: Labels) -> Front:
    """Of gateways with these labels, to which no Service leads."""
    own = set(labels)
    return Front(tuple(ref for ref, selector in selectors(db) if own.issuperset(selector)))
