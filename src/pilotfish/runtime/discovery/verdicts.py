"""What this discovery has to say of each object: whether it is in force everywhere, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pilotfish.cluster.conditions import Told, Verdict
from pilotfish.discovery.findings import Finding
from pilotfish.discovery.plane import ControlPlane
from pilotfish.model import ObjectRef
from pilotfish.model.problem import Severity

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}


def verdicts(plane: ControlPlane, findings: Iterable[Finding]) -> dict[ObjectRef, Verdict]:
    """Of Istio's objects all, of others those with which something is wrong."""
    told: dict[ObjectRef, list[Told]] = {}
    for finding in findings:
        problem = finding.problem
        if problem.ref is not None:
            told.setdefault(problem.ref, []).append(Told(replace(problem, source=None), len(finding.proxies)))
    unsettled = plane.mesh.unproven() if plane.roster.sessions else {}
    found = {}
    manifests = plane.mesh.desired.manifests
    for ref in {**told, **dict.fromkeys(ref for ref in manifests if ref.kind.is_istio)}:
        manifest = manifests.get(ref)
        generation = manifest.resource.metadata.generation if manifest is not None else 0
        listed = sorted(told.get(ref, ()), key=lambda each: (_ORDER[each.problem.severity], each.problem.field))
        found[ref] = Verdict(generation, tuple(listed), ref not in unsettled)
    return found
