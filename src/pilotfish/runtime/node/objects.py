"""The mesh's objects as an API server would show them, with what its controllers would add."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version

from pilotfish.config.kubernetes import Deployment, Service
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.kinds import (
    ENDPOINT_SLICE,
    ENDPOINTS,
    EVENT,
    NAMESPACE,
    NODE,
    PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    REPLICA_SET,
    SERVICE,
)
from pilotfish.model.wellknown import ROOT_NAMESPACE
from pilotfish.node import claims
from pilotfish.node.controllers.table import CONTROLLERS
from pilotfish.node.derived import render_endpoints, render_event, render_namespace, render_node, render_slices
from pilotfish.node.document import render, render_pod, timestamp
from pilotfish.node.node_ports import EXPOSED
from pilotfish.node.store import Stored
from pilotfish.runtime.control.client import Unstructured
from pilotfish.runtime.control.views import MeshView
from pilotfish.runtime.node.announce import record
from pilotfish.runtime.node.describe import describe_exposed, wall
from pilotfish.runtime.node.entrances import Entrances
from pilotfish.runtime.node.pod_status import pod_status
from pilotfish.runtime.node.reconciler import Reconciler

_GENERATION = "deployment.kubernetes.io/revision"


class Objects:
    def __init__(self, mesh: MeshView, reconciler: Reconciler, entrances: Entrances) -> None:
        self._mesh = mesh
        self._reconciler = reconciler
        self._entrances = entrances
        self._computed: Mapping[Kind, Callable[[], Iterable[Unstructured]]] = {
            ENDPOINTS: self._endpoints,
            ENDPOINT_SLICE: self._slices,
            NAMESPACE: self._namespaces,
            NODE: self._nodes,
            EVENT: self._events,
            REPLICA_SET: self._replica_sets,
            POD: self._pods,
        }

    def find(self, kind: Kind | None, namespace: str, name: str) -> list[Unstructured]:
        """Of one kind those that are stored and those that a cluster's machinery would make; None: what is stored, and
        all pods, as discovery is told of them. "" for any namespace or name."""
        objects, pods = self._reconciler.store.objects, self._reconciler.workloads.pods
        stored = (objects[ref] for ref in sorted(objects) if kind in (None, ref.kind) and ref.kind is not POD)
        found = [self._render(each) for each in stored]
        if kind is None:
            found += [render_pod(record(pods[ref])) for ref in sorted(pods)]
        elif kind in self._computed:
            there = {_key(document) for document in found}
            found += (each for each in self._computed[kind]() if _key(each) not in there)
        return [document for document in found if _matches(_key(document), namespace, name)]

    def written(self, ref: ObjectRef) -> Mapping[str, object] | None:
        """An object's text as somebody wrote it, or would have written it: a namespace that objects are in is there,
        too. None where there is none."""
        stored = self._reconciler.store.objects.get(ref)
        if stored is not None:
            return stored.manifest.document
        if ref.kind is NAMESPACE and ref.name in self._namespace_names():
            return {"apiVersion": ref.kind.api_versions[0], "kind": ref.kind.name, "metadata": {"name": ref.name}}
        return None

    def _render(self, stored: Stored) -> Unstructured:
        document = render(stored, self._reconciler.cluster_ips_by_ref)
        if stored.ref.kind in CONTROLLERS:
            document["status"] = self._reconciler.workloads.status(stored)
            metadata = document["metadata"]
            if isinstance(metadata, dict) and (sets := self._reconciler.workloads.replica_sets(stored)):
                metadata["annotations"] = {**(metadata.get("annotations") or {}), _GENERATION: str(sets[-1].revision)}
        elif isinstance(service := stored.manifest.resource, Service) and service.spec.type in EXPOSED:
            ports = [self._entrances.host_port(stored.ref, port) for port in service.spec.ports]
            return describe_exposed(document, service, ports)
        elif stored.ref.kind is NAMESPACE:
            document["status"] = {"phase": "Active"}
        elif stored.ref.kind in (PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM):
            claims.fill_in(document, stored, self._reconciler.store)
        return document

    def _pods(self) -> Iterator[Unstructured]:
        for _, pod in sorted(self._reconciler.workloads.pods.items()):
            document = render_pod(record(pod))
            spec, status = document["spec"], document["status"]
            if isinstance(spec, dict) and isinstance(status, dict):
                document["spec"] = {**spec, "nodeName": pod.identity.node_name}
                document["status"] = {**status, **pod_status(pod)}
            yield document

    def _services(self) -> Iterator[tuple[Stored, Service]]:
        for stored in self._reconciler.store.of_kind(SERVICE):
            if isinstance(resource := stored.manifest.resource, Service) and resource.spec.selector:
                yield stored, resource

    def _endpoints(self) -> Iterator[Unstructured]:
        backends = self._reconciler.backends()
        for stored, service in self._services():
            yield render_endpoints(stored.ref, service, backends, stored.created_at)

    def _slices(self) -> Iterator[Unstructured]:
        backends = self._reconciler.backends()
        for stored, service in self._services():
            yield from render_slices(stored.ref, service, backends, stored.created_at)

    def _namespaces(self) -> Iterator[Unstructured]:
        for name in sorted(self._namespace_names()):
            yield render_namespace(name, self._mesh.started_at)

    def _namespace_names(self) -> set[str]:
        """Of those that are in use."""
        used = {*self._reconciler.store.objects, *self._reconciler.workloads.pods}
        names = {ref.namespace for ref in used if ref.namespace}
        return {*names, "default", ROOT_NAMESPACE, self._mesh.default_namespace}

    def _nodes(self) -> Iterator[Unstructured]:
        machine = platform.uname()
        info = {
            "architecture": machine.machine,
            "kernelVersion": machine.release,
            "operatingSystem": "linux",
            "osImage": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"),
            "kubeletVersion": f"pilotfish-{version('pilotfish')}",
        }
        yield render_node(self._reconciler.node_name, self._mesh.started_at, self._reconciler.node_addresses, info)

    def _events(self) -> Iterator[Unstructured]:
        yield from map(render_event, self._reconciler.history.happenings)

    def _replica_sets(self) -> Iterator[Unstructured]:
        """Of Deployments; empty ones are those that `rollout undo` may go back to."""
        workloads = self._reconciler.workloads
        for ref, stored in sorted(self._reconciler.store.objects.items()):
            if not isinstance(stored.manifest.resource, Deployment):
                continue
            for each in workloads.replica_sets(stored):
                ready, total = workloads.count_of(ref, each.hash)
                labels = {**each.template.metadata.labels, "pod-template-hash": each.hash}
                owner = {"apiVersion": ref.kind.api_versions[0], "kind": ref.kind.name, "name": ref.name}
                yield {
                    "apiVersion": REPLICA_SET.api_versions[0],
                    "kind": REPLICA_SET.name,
                    "metadata": {
                        "name": f"{ref.name}-{each.hash}",
                        "namespace": ref.namespace,
                        "labels": labels,
                        "annotations": {_GENERATION: str(each.revision)},
                        "creationTimestamp": timestamp(wall(each.created_at)),
                        "ownerReferences": [{**owner, "controller": True}],
                    },
                    "spec": {
                        "replicas": each.replicas,
                        "selector": {"matchLabels": {"pod-template-hash": each.hash}},
                        "template": dict(each.document),
                    },
                    "status": {"replicas": total, "readyReplicas": ready, "availableReplicas": ready},
                }


def _key(document: Unstructured) -> tuple[str, str]:
    """Namespace and name."""
    metadata = document["metadata"]
    if not isinstance(metadata, dict):
        return "", ""
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))


def _matches(key: tuple[str, str], namespace: str, name: str) -> bool:
    return namespace in ("", key[0]) and name in ("", key[1])
