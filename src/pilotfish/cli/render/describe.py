"""One object with all that is known of it, for people: `pilotfish describe`.

    document, Problems, Events ─describe─▶ fields ─▶ text        a field is a label and a text, or fields below it

Laid out as kubectl does; what a kind has no lines of its own for is YAML, with the API's own names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pilotfish.cli.render.age import parse_timestamp, render_age
from pilotfish.cli.render.documents import render_document
from pilotfish.cli.render.events import last_seen
from pilotfish.cli.render.objects import Unstructured, at, each_at, name_of, namespace_of
from pilotfish.cli.render.table import NONE, table
from pilotfish.model import Kind, kinds
from pilotfish.model.wellknown import SOURCE_ANNOTATION

Field = tuple[str, "str | list[Field]"]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an object beside its document."""

    problems: tuple[str, ...] = ()
    """Lines."""
    notes: tuple[str, ...] = ()
    events: tuple[Unstructured, ...] = ()
    endpoints: tuple[str, ...] = ()
    """Of a Service, as `10.244.0.2:8888`."""
    replica_sets: tuple[Unstructured, ...] = ()
    """Of a Deployment."""


def describe(kind: Kind, document: Unstructured, known: Known, now: float) -> str:
    own = _FIELDS.get(kind, _rest)
    text = "".join(_lines([*_head(document, now), *own(document, known)]))
    for title, lines in (("Notes", known.notes), ("Problems", known.problems)):
        text += "".join([f"{title}:\n", *(f"  {line}\n" for line in lines)]) if lines else ""
    return text + _events(known.events, now)


def _lines(fields: Iterable[Field], indent: str = "") -> Iterator[str]:
    listed = list(fields)
    width = max((len(label) + 3 for label, value in listed if isinstance(value, str) and "\n" not in value), default=0)
    for label, value in listed:
        if isinstance(value, list):
            yield f"{indent}{label}:{'' if value else f'  {NONE}'}\n"
            yield from _lines(value, f"{indent}  ")
        elif "\n" in value:
            yield f"{indent}{label}:\n"
            yield from (f"{indent}  {line}\n" for line in value.rstrip("\n").split("\n"))
        else:
            yield f"{indent}{f'{label}:':<{width}}{value}\n"


def _head(document: Unstructured, now: float) -> Iterator[Field]:
    yield "Name", name_of(document)
    if namespace := namespace_of(document):
        yield "Namespace", namespace
    created = parse_timestamp(at(document, "metadata", "creationTimestamp"))
    if created is not None:
        yield "Created", f"{at(document, 'metadata', 'creationTimestamp')} ({render_age(now - created)} ago)"
    annotations = _pairs(at(document, "metadata", "annotations"))
    yield "Source", annotations.pop(SOURCE_ANNOTATION, NONE)
    yield "Labels", _mapped(_pairs(at(document, "metadata", "labels")))
    yield "Annotations", _mapped(annotations)


def _pairs(value: object) -> dict[str, str]:
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, Mapping) else {}


def _mapped(pairs: Mapping[str, str]) -> str:
    """One alone stands beside its label."""
    return "\n".join(f"{key}={value}" for key, value in sorted(pairs.items())) or NONE


def _yaml(value: object) -> str:
    return render_document(value, "yaml") + "\n" if value not in (None, {}, []) else NONE


def _rest(document: Unstructured, _: Known) -> Iterator[Field]:
    yield "API Version", str(document.get("apiVersion", ""))
    yield "Kind", str(document.get("kind", ""))
    for name, value in document.items():
        if name not in ("apiVersion", "kind", "metadata"):
            yield name.capitalize(), value if isinstance(value, str) else _yaml(value)


def _pod(document: Unstructured, _: Known) -> Iterator[Field]:
    from pilotfish.config.proxying import NODE, PROXY

    status = at(document, "status")
    node = str(at(document, "spec", "nodeName") or NONE)
    yield "Node", node
    if at(document, "metadata", "annotations", PROXY) == NODE:
        yield "Proxy", f"that of machine {node}, for all pods there that ask for it"
    owners = each_at(document, "metadata", "ownerReferences")
    if owners:
        yield "Controlled By", ", ".join(f"{at(each, 'kind')}/{at(each, 'name')}" for each in owners)
    yield "Service Account", str(at(document, "spec", "serviceAccountName") or "default")
    yield "Status", " ".join(str(part) for part in (at(status, "phase"), at(status, "reason")) if part)
    if message := at(status, "message"):
        yield "Message", str(message)
    yield "IPs", ", ".join(str(at(each, "ip")) for each in each_at(status, "podIPs")) or NONE
    for title, names, states in (
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
    ):
        specs = {str(at(each, "name")): each for each in each_at(document, "spec", names)}
        found = [(str(at(each, "name")), each) for each in each_at(status, states)]
        if found:
            yield title, [(name, list(_container(specs.get(name, {}), each))) for name, each in found]
    yield "Conditions", [(str(at(c, "type")), str(at(c, "status"))) for c in each_at(status, "conditions")]
    yield "Volumes", _yaml(at(document, "spec", "volumes"))


def _container(spec: object, status: object) -> Iterator[Field]:
    if image := at(status, "image"):
        yield "Image", str(image)
    for label, name in (("Command", "command"), ("Args", "args")):
        if words := each_at(spec, name):
            yield label, " ".join(map(str, words)).rstrip("\n")
    if ports := each_at(spec, "ports"):
        yield "Ports", ", ".join(f"{at(p, 'containerPort')}/{at(p, 'protocol') or 'TCP'}" for p in ports)
    yield from _state("State", at(status, "state"))
    yield from _state("Last State", at(status, "lastState"))
    yield "Ready", str(at(status, "ready"))
    yield "Restart Count", str(at(status, "restartCount"))
    for label, name in (("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")):
        if probe := at(spec, name):
            yield label, _yaml(probe)
    if variables := each_at(spec, "env"):
        yield "Environment", [(str(at(each, "name")), _variable(each)) for each in variables]
    if mounts := each_at(spec, "volumeMounts"):
        yield "Mounts", [(str(at(each, "mountPath")), f"from {at(each, 'name')}") for each in mounts]


def _variable(variable: object) -> str:
    """Where it comes from, and not what a Secret holds."""
    source = at(variable, "valueFrom")
    if not isinstance(source, Mapping):
        return str(at(variable, "value") or "")
    kind, where = next(iter(source.items()), ("", {}))
    return f"<{kind} {' '.join(str(each) for each in where.values()) if isinstance(where, Mapping) else where}>"


def _state(label: str, state: object) -> Iterator[Field]:
    """`Terminated`, with its fields below."""
    if isinstance(state, Mapping):
        for name, fields in state.items():
            yield label, str(name).capitalize()
            yield from ((f"  {key[:1].upper()}{key[1:]}", " ".join(str(v).split())) for key, v in fields.items())


def _service(document: Unstructured, known: Known) -> Iterator[Field]:
    yield "Selector", _mapped(_pairs(at(document, "spec", "selector")))
    yield "Type", str(at(document, "spec", "type") or "ClusterIP")
    yield "IP", str(at(document, "spec", "clusterIP") or NONE)
    ingress = [str(at(each, "ip")) for each in each_at(document, "status", "loadBalancer", "ingress")]
    if ingress:
        yield "LoadBalancer Ingress", ", ".join(ingress)
    for port in each_at(document, "spec", "ports"):
        name, number = at(port, "name") or "<unset>", at(port, "port")
        yield "Port", f"{name} {number}/{at(port, 'protocol') or 'TCP'}"
        yield "TargetPort", str(at(port, "targetPort") or number)
        if node_port := at(port, "nodePort"):
            yield "NodePort", f"{name} {node_port}/{at(port, 'protocol') or 'TCP'}"
    yield "Endpoints", ",".join(known.endpoints) or NONE


def _deployment(document: Unstructured, known: Known) -> Iterator[Field]:
    status = at(document, "status")
    counts = (("updated", "updatedReplicas"), ("total", "replicas"), ("available", "availableReplicas"))
    wanted = at(document, "spec", "replicas")
    parts = [
        f"{1 if wanted is None else wanted} desired",
        *(f"{at(status, name) or 0} {word}" for word, name in counts),
    ]
    yield "Selector", _mapped(_pairs(at(document, "spec", "selector", "matchLabels")))
    yield "Replicas", " | ".join(parts)
    yield "Strategy", str(at(document, "spec", "strategy", "type") or "RollingUpdate")
    if at(document, "spec", "paused"):
        yield "Paused", "True"
    yield "Pod Template", _yaml(at(document, "spec", "template"))
    yield (
        "Conditions",
        [(str(at(c, "type")), f"{at(c, 'status')} {at(c, 'reason')}") for c in each_at(status, "conditions")],
    )
    sets = [
        (name_of(each), f"{at(each, 'spec', 'replicas')} replicas, {at(each, 'status', 'readyReplicas')} ready")
        for each in known.replica_sets
    ]
    yield "OldReplicaSets", list(sets[:-1])
    yield "NewReplicaSet", list(sets[-1:])


def _events(events: Iterable[Unstructured], now: float) -> str:
    rows = [
        (str(at(e, "type")), str(at(e, "reason")), last_seen(e, now), " ".join(str(at(e, "message")).split()))
        for e in events
    ]
    if not rows:
        return f"Events:  {NONE}\n"
    shown = table(("Type", "Reason", "Age", "Message"), rows).text()
    return "Events:\n" + "".join(f"  {line}\n" for line in shown.splitlines())


_FIELDS: dict[Kind, Callable[[Unstructured, Known], Iterator[Field]]] = {
    kinds.POD: _pod,
    kinds.SERVICE: _service,
    kinds.DEPLOYMENT: _deployment,
}
