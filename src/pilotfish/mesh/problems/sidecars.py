"""Problems of Sidecars: whom they are for, who came first, and what they name and is not there."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import Labels, refs, resource
from pilotfish.mesh.policy.peer_authentication import decisive, peer_modes
from pilotfish.mesh.problems.routing import warning
from pilotfish.mesh.registry.services import claimants
from pilotfish.mesh.registry.visibility import ports_seen
from pilotfish.mesh.registry.workloads import is_housed, workloads_selected
from pilotfish.mesh.routes.destinations import backend
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.sidecars import egress_of, in_namespace
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.model.addresses import is_loopback
from pilotfish.model.egress import ANY, Egress, Import, is_socket
from pilotfish.model.kinds import POD
from pilotfish.model.mutual_tls import MutualTLS


@query
def sidecar_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    found = resource(db, ref, istio.Sidecar)
    if found is None:
        return ()
    labels = dict(in_namespace(db, ref.namespace)).get(ref, ())
    egress = egress_of(db, ref, ref.namespace)
    return (
        *(_selection(db, ref, labels) if labels else _second(db, ref)),
        *_unknown_hosts(db, ref, found.spec),
        *_unused_tls(db, ref, found.spec, labels),
        *(_lost_proxy(db, ref, egress) if egress is not None else ()),
        *_unbound(db, ref, found.spec, labels),
    )


def _selection(db: Reads, ref: ObjectRef, labels: Labels) -> Iterator[Problem]:
    """No pod, or one that another Sidecar selects as well."""
    pods = {pod for pod in workloads_selected(db, ref.namespace, labels) if pod.kind is POD}
    if not pods:
        written = ",".join(f"{key}={value}" for key, value in labels)
        text = f"no pod of namespace {ref.namespace} has the labels {written}, so it has no effect; correct the labels"
        yield warning(db, ref, "spec.workloadSelector.labels", "NoWorkloads", text)
    for other, theirs in in_namespace(db, ref.namespace):
        both = pods.intersection(workloads_selected(db, ref.namespace, theirs)) if theirs and other != ref else set()
        if both:
            yield _conflict(db, ref, other, f"for {min(both)}", "ConflictingSelector")


def _second(db: Reads, ref: ObjectRef) -> Iterator[Problem]:
    for other, labels in in_namespace(db, ref.namespace):
        if not labels and other != ref:
            yield _conflict(db, ref, other, f"for the workloads of {ref.namespace}", "ConflictingDefault")


def _conflict(db: Reads, ref: ObjectRef, other: ObjectRef, whom: str, reason: str) -> Problem:
    """The loser is warned, and the winner's author told: one of the two was not meant."""
    order = [each for each, _ in in_namespace(db, ref.namespace)]
    if order.index(other) < order.index(ref):
        text = f"{other} is {whom} too and comes first, so this one is not used there; merge the two, or remove one"
        return warning(db, ref, "spec.workloadSelector", reason, text)
    text = f"{other} is {whom} too and is not used there, as this one comes first; merge the two, or remove one"
    return warning(db, ref, "spec.workloadSelector", reason, text, Severity.INFO)


def _unused_tls(db: Reads, ref: ObjectRef, spec: istio.SidecarSpec, labels: Labels) -> Iterator[Problem]:
    """Whoever speaks it is closed out: a STRICT port takes certificates of the mesh alone."""
    modes = peer_modes(db, ref.namespace, labels)
    for index, each in enumerate(spec.ingress):
        if each.tls is not None and each.port is not None and modes.of(each.port.number) is MutualTLS.STRICT:
            text = (
                f"{decisive(db, ref.namespace, labels)} lets nobody in but workloads of the mesh, so it has no effect; "
                f"remove it, or say PERMISSIVE for port {each.port.number} there"
            )
            yield warning(db, ref, f"spec.ingress[{index}].tls", "UnusedField", text)


def _unknown_hosts(db: Reads, ref: ObjectRef, spec: istio.SidecarSpec) -> Iterator[Problem]:
    """Whole names that nobody has. One that only a VirtualService knows may be meant."""
    for i, listener in enumerate(spec.egress):
        for j, written in enumerate(listener.hosts):
            namespace, _, host = written.partition("/")
            wanted = Import(ref.namespace if namespace == "." else namespace, host.lower())
            if host.startswith("*") or namespace.startswith("~") or _is_claimed(db, wanted):
                continue
            where = "" if wanted.namespace == ANY else f" of namespace {wanted.namespace}"
            text = (
                f"no Service or ServiceEntry{where} has the host {host}, so it imports none; correct it, or remove it"
            )
            yield warning(db, ref, f"spec.egress[{i}].hosts[{j}]", "UnknownImport", text, Severity.INFO)


@query(index=True)
def _is_claimed(db: Reads, wanted: Import) -> bool:
    return any(wanted.covers(claim.namespace, wanted.host) for claim in claimants(db).get(wanted.host, ()))


def _unbound(db: Reads, ref: ObjectRef, spec: istio.SidecarSpec, labels: Labels) -> Iterator[Problem]:
    """What a machine's proxy does not listen at: it would take what other pods send to the same place."""
    fields = [f"spec.ingress[{index}]" for index, each in enumerate(spec.ingress) if each.capture_mode == "NONE"]
    for index, each in enumerate(spec.egress):
        if is_socket(each.bind) or (each.capture_mode == "NONE" and each.bind and not is_loopback(each.bind)):
            fields.append(f"spec.egress[{index}]")
    pod = _housed_pod(db, ref, labels) if fields else None
    for field in fields if pod is not None else ():
        text = (
            f"the proxy of its machine, which serves {pod}, listens at the loopback alone, so nobody is heard here; "
            "leave out bind and captureMode, or write the annotation pilotfish.io/proxy: sidecar on the pods"
        )
        yield warning(db, ref, field, "NotInNodeMode", text)


def _housed_pod(db: Reads, ref: ObjectRef, labels: Labels) -> ObjectRef | None:
    """The first of the Sidecar's pods that have no proxy of their own."""
    of_namespace = (pod for pod in refs(db, POD) if pod.namespace == ref.namespace)
    pods = workloads_selected(db, ref.namespace, labels) if labels else of_namespace
    return next((pod for pod in pods if pod.kind is POD and is_housed(db, pod)), None)


def _lost_proxy(db: Reads, ref: ObjectRef, egress: Egress) -> Iterator[Problem]:
    proxy, scope = egress.unclaimed, Scope(ref.namespace, egress=egress)
    if proxy is None or not proxy.host:
        return
    found = backend(db, scope, proxy.host, proxy.port, proxy.subset, proxy.port)
    why = found.invalid.message if found.invalid is not None else ""
    if not why and proxy.port not in (ports_seen(db, scope, proxy.host) or (proxy.port,)):
        why = f"port {proxy.port} of {proxy.host} is not imported"
    if why:
        text = f"{why}: what is for no host of the scope goes nowhere; correct it, or import its host in spec.egress"
        yield warning(db, ref, "spec.outboundTrafficPolicy.egressProxy.host", "UnknownHost", text)
