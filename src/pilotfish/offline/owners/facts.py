"""What a step's owner is found by: what is known of the mesh, the step's proxy, and the steps around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from pilotfish.config.desired import DesiredState
from pilotfish.derive import Graph
from pilotfish.discovery.mesh import Mesh
from pilotfish.explain.owner import find_ref
from pilotfish.explain.trace import Stage, Step, Trace
from pilotfish.mesh.policy.policies import scope_of, sidecar_of
from pilotfish.mesh.scope import Scope
from pilotfish.model import FieldRef, ObjectRef, Proxy
from pilotfish.offline.owners.fields import Document

Claims = Iterator[FieldRef]
"""The first holds; none where nobody's object decided."""


class Known(Protocol):
    """A mesh whose steps they are: a World of manifests, or what discovery serves."""

    @property
    def desired(self) -> DesiredState:
        """As the user wrote it."""

    @property
    def mesh(self) -> Mesh: ...

    @property
    def proxies(self) -> Mapping[str, Proxy]:
        """By `name.namespace`."""

    @property
    def workloads(self) -> Mapping[str, ObjectRef]:
        """The owners of pods, by `name.namespace`, where they are known."""


@dataclass(frozen=True, slots=True)
class Facts:
    known: Known
    trace: Trace
    proxy: Proxy
    """The step's own."""

    @property
    def graph(self) -> Graph:
        return self.known.mesh.graph

    @property
    def scope(self) -> Scope:
        return scope_of(self.graph, self.proxy)

    @property
    def sidecar(self) -> ObjectRef | None:
        """The Sidecar that applies to the proxy."""
        return sidecar_of(self.graph, self.proxy)

    def document(self, ref: ObjectRef) -> Document:
        return document_of(self.known, ref)

    def before(self, step: Step, stage: Stage) -> Step | None:
        return before(self.trace, step, stage)

    def behind(self, step: Step, stage: Stage) -> Step | None:
        """The first of a stage that it leads to, in the same pod."""
        found = (each for each in self.trace.steps[step.id :] if each.stage is stage and each.pod == step.pod)
        return next((each for each in found if self._leads(step, each)), None)

    def _leads(self, step: Step, to: Step) -> bool:
        at = to.parent
        while at is not None and at > step.id:
            at = self.trace.steps[at].parent
        return at == step.id


def before(trace: Trace, step: Step, stage: Stage) -> Step | None:
    """The nearest of a stage that led there, in the same pod."""
    at = step.parent
    while at is not None:
        found = trace.steps[at]
        if found.pod != step.pod or found.side is not step.side:
            return None
        if found.stage is stage:
            return found
        at = found.parent
    return None


def document_of(known: Known, ref: ObjectRef) -> Document:
    """As the user wrote it, else as the mesh made it."""
    manifest = known.desired.manifests.get(ref) or known.mesh.desired.manifests.get(ref)
    return manifest.document if manifest is not None else {}


def as_written(step: Step) -> Claims:
    """What the proxy says itself."""
    ref = find_ref(step.written.config)
    if ref is not None and step.written.field:
        yield FieldRef(ref, step.written.field)
