"""All that is wrong: with what the source read, with objects, and with what Envoy refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pilotfish.discovery.plane import ControlPlane
from pilotfish.discovery.quarantine import Rejection
from pilotfish.envoy.types import short
from pilotfish.model import Problem


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem, and where it is one that Envoy reported, which type it concerns and who did."""

    problem: Problem
    type_url: str = ""
    proxies: frozenset[str] = frozenset()
    """Node ids."""


def findings(plane: ControlPlane) -> tuple[Finding, ...]:
    """All of them, each once."""
    found = dict.fromkeys((*plane.mesh.desired.problems, *plane.mesh.problems()))
    return (*rejections(plane), *(Finding(problem) for problem in found))


def rejections(plane: ControlPlane) -> Iterator[Finding]:
    """What Envoy refused."""
    for ref, rejection in sorted(plane.quarantine.rejected.items()):
        manifest = plane.mesh.desired.manifests.get(ref)
        force = "its last good form stays in force" if plane.mesh.last_good(ref) else "it is not used"
        message = (
            f"Envoy refuses what follows from it ({_what(rejection)}): {rejection.message}; {force} until it is changed"
        )
        source = manifest.source if manifest else None
        yield _finding(Problem(ref, "", "RefusedByEnvoy", message, source=source), rejection)
    for rejection in plane.quarantine.unexplained.values():
        message = (
            f"Envoy refuses {_what(rejection)}: {rejection.message}; what the proxies have of it stays in force, "
            "and no single object explains it: undo the latest change, of the meshConfig too"
        )
        yield _finding(Problem(None, "", "RefusedByEnvoy", message), rejection)


def _finding(problem: Problem, rejection: Rejection) -> Finding:
    return Finding(problem, rejection.type_url, rejection.proxies)


def _what(rejection: Rejection) -> str:
    return f"{short(rejection.type_url).upper()} {rejection.name}"
