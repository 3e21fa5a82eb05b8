"""Manifests whose apps are stood in for: where Services lead, each pod runs a program that says who it is.

World ─stand_in─▶ documents that a mesh can be started from, whatever their images and programs need
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from pilotfish.config.injection import asks_for_gateway
from pilotfish.config.kubernetes import Pod, PodSpec
from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.config.workloads import template_of, template_path
from pilotfish.mesh.listeners.inbound import InboundPort, inbound_ports
from pilotfish.model import ObjectRef, Proxy
from pilotfish.model.kinds import CRON_JOB, JOB, POD
from pilotfish.offline.world import World

Document = dict[str, Any]
MakeCommand = Callable[[Iterable[str]], Sequence[str]]
"""What runs an app that listens at these places (`ADDRESS:PORT`)."""
_IDLE: Final = ("sleep", "infinity")


def stand_in(world: World, command: MakeCommand) -> Iterator[Document]:
    """The objects as they are written, with other apps in the pods. Gateways have none, and stay."""
    places = _places(world)
    for ref, manifest in sorted(world.desired.manifests.items()):
        yield _replaced(manifest, places.get(ref, ()), command)


def log_all(config: MeshConfig) -> MeshConfig:
    """With an access log of the usual form: what became of a request is read there."""
    return msgspec.structs.replace(
        config, access_log_file="/dev/stdout", access_log_format="", access_log_encoding="TEXT"
    )


def _places(world: World) -> Mapping[ObjectRef, tuple[str, ...]]:
    """Where the pods of each Deployment, or a pod itself, are to listen."""
    found: dict[ObjectRef, dict[int, str]] = {}
    manifests = world.mesh.desired.manifests
    for name, workload in world.workloads.items():
        pod = manifests[POD.ref(*reversed(_split(name)))].resource
        if isinstance(pod, Pod):
            at = found.setdefault(workload, {})
            at.update((port, f"0.0.0.0:{port}") for port in _declared(pod.spec))
            at.update(_listened(port) for port in world.mesh.graph.get(inbound_ports, _proxy(world, name, pod)))
    return {ref: tuple(at.values()) for ref, at in found.items()}


def _split(name: str) -> tuple[str, str]:
    pod, _, namespace = name.rpartition(".")
    return pod, namespace


def _proxy(world: World, name: str, pod: Pod) -> Proxy:
    """That of the pod, or the one that it would have."""
    labels = pod.metadata.labels
    return world.proxies.get(name) or Proxy.of_pod(*_split(name), (pod.status.pod_ip,), labels=labels)


def _declared(spec: PodSpec) -> Iterator[int]:
    return (each.container_port for c in spec.containers for each in c.ports if each.protocol == "TCP")


def _listened(port: InboundPort) -> tuple[int, str]:
    """A socket in the file system is not stood in for."""
    said = port.listener.endpoint if port.listener is not None else ""
    number = said.rpartition(":")[2]
    if not said.startswith("127.") or not number.isdecimal():
        return port.number, f"0.0.0.0:{port.number}"
    return int(number), said


def _replaced(manifest: Manifest, places: tuple[str, ...], command: MakeCommand) -> Document:
    document = dict(manifest.document)
    match manifest.resource:
        case Pod(metadata=metadata, spec=pod) if not asks_for_gateway(metadata, pod):
            return {**document, "spec": _app(places, command)}
    template = template_of(manifest.resource)
    if template is not None and not asks_for_gateway(template.metadata, template.spec):
        app = _app(places, command)
        return _with(document, (*template_path(manifest.ref.kind), "spec"), {**_policy(manifest.ref), **app})
    return document


def _policy(ref: ObjectRef) -> Document:
    """A Job's pods are not started again, whatever stands in for them."""
    return {"restartPolicy": "Never"} if ref.kind in (JOB, CRON_JOB) else {}


def _with(document: Document, path: Sequence[str], value: Document) -> Document:
    name, *rest = path
    return {**document, name: _with(_mapping(document.get(name)), rest, value) if rest else value}


def _app(places: tuple[str, ...], command: MakeCommand) -> Document:
    if not places:
        return {"containers": [{"name": "app", "command": list(_IDLE)}]}
    port = int(places[0].rpartition(":")[2])
    probe = {"tcpSocket": {"port": port}, "periodSeconds": 1}
    if places[0].startswith("127."):
        probe = {"exec": {"command": ["true"]}}
    return {"containers": [{"name": "app", "command": list(command(places)), "readinessProbe": probe}]}


def _mapping(value: object) -> Document:
    return {str(key): each for key, each in value.items()} if isinstance(value, Mapping) else {}
