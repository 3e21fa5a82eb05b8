"""Problems of WorkloadEntries."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.derive import Reads, query
from pilotfish.mesh.listeners.inbound import served_ports
from pilotfish.mesh.problems.routing import warning
from pilotfish.mesh.registry.workloads import Workload, workload
from pilotfish.model import ObjectRef, Problem, Severity


@query
def workload_entry_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    found = workload(db, ref)
    return tuple(_unused(db, ref, found)) if found is not None else ()


def _unused(db: Reads, ref: ObjectRef, found: Workload) -> Iterator[Problem]:
    if not served_ports(db, ref, found.labels, found.addresses):
        text = (
            f"no Service and no ServiceEntry of namespace {ref.namespace} selects it, so that nobody is sent there; "
            "give it labels that one of them selects"
        )
        yield warning(db, ref, "spec.labels", "UnusedWorkload", text, Severity.INFO)
