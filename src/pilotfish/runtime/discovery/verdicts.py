"""What there is to say of each object, by all replicas: whether it is in force everywhere, and what is wrong with it.

    own plane ─report─▶ Report ─┐
    other replicas ─▶ Report ───┴─verdicts─▶ Verdict of each object

All replicas read the same objects, and find the same in them. What proxies make of it each knows of its own alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pilotfish.cluster.conditions import Told, Verdict
from pilotfish.discovery.findings import Finding, pod_of
from pilotfish.discovery.plane import ControlPlane
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.kinds import SERVICE_ENTRY
from pilotfish.model.problem import Severity

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}


@dataclass(frozen=True, slots=True)
class Report:
    """What one replica knows by its proxies."""

    refused: tuple[tuple[Problem, frozenset[str]], ...] = ()
    """Problems of objects, and which pods have them."""
    unsettled: frozenset[ObjectRef] = frozenset()
    """The objects that not all of its proxies have acknowledged as they are."""


def report(plane: ControlPlane, findings: Iterable[Finding]) -> Report:
    """What this one knows."""
    refused = tuple(
        (finding.problem, frozenset(map(pod_of, finding.proxies)))
        for finding in findings
        if finding.problem.ref is not None and finding.proxies
    )
    return Report(refused, frozenset(plane.mesh.unproven() if plane.roster.sessions else ()))


def verdicts(
    plane: ControlPlane, findings: Iterable[Finding], others: Iterable[Report] = ()
) -> dict[ObjectRef, Verdict]:
    """Of Istio's objects all, of others those with which something is wrong."""
    found = tuple(findings)
    reports = (report(plane, found), *others)
    problems = {(each.problem.ref, each.problem.reason, each.problem.field): each.problem for each in found}
    pods: dict[tuple[ObjectRef | None, str], frozenset[str]] = {}
    for problem, proxies in (each for one in reports for each in one.refused):
        key = problem.ref, problem.reason
        pods[key] = pods.get(key, frozenset()) | proxies
        if not any(known[:2] == key for known in problems):
            problems[*key, problem.field] = problem
    told: dict[ObjectRef, list[Told]] = {}
    for problem in problems.values():
        if problem.ref is not None:
            number = len(pods.get((problem.ref, problem.reason), ()))
            told.setdefault(problem.ref, []).append(Told(replace(problem, source=None), number))
    unsettled = frozenset[ObjectRef]().union(*(one.unsettled for one in reports))
    manifests = plane.mesh.desired.manifests
    refs = {**told, **dict.fromkeys(ref for ref in manifests if ref.kind.is_istio)}
    return {ref: _verdict(plane, ref, told.get(ref, []), ref not in unsettled) for ref in refs}


def _verdict(plane: ControlPlane, ref: ObjectRef, told: list[Told], is_settled: bool) -> Verdict:
    manifest = plane.mesh.desired.manifests.get(ref)
    generation = manifest.resource.metadata.generation if manifest is not None else 0
    listed = sorted(told, key=lambda each: (_ORDER[each.problem.severity], each.problem.field))
    return Verdict(
        generation, tuple(listed), is_settled, plane.mesh.allocated(ref) if ref.kind is SERVICE_ENTRY else ()
    )
