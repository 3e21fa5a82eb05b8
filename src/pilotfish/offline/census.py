"""How much of many manifests is used, and what keeps the rest from being used.

texts, each by itself ─read, build─▶ Tally of each ─add─▶ Census: counts, and reasons ranked
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pilotfish.config.loading import load
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.offline.reading import read
from pilotfish.offline.world import build

_INDEX = re.compile(r"\[(?:\d+|[^\]]*)\]")


@dataclass(frozen=True, slots=True)
class Reason:
    """What documents have in common that are refused, or warned of."""

    severity: Severity
    reason: str
    kind: str
    """"" for what is no object."""
    field: str
    """Without indices: `spec.containers[].command`."""


@dataclass(slots=True)
class Ranked:
    documents: int = 0
    example: Problem | None = None


@dataclass(slots=True)
class Census:
    files: int = 0
    used: int = 0
    """Documents of which nothing is said, or nothing that matters."""
    warned: int = 0
    """Documents that are used, and not all of them does what its author may expect."""
    refused: int = 0
    """Documents that nothing comes of, and that are missed."""
    others: int = 0
    """Documents that are no part of a mesh: RBAC, a CRD, a pipeline."""
    reasons: dict[Reason, Ranked] = field(default_factory=dict)

    @property
    def documents(self) -> int:
        return self.used + self.warned + self.refused + self.others

    def ranked(self, severity: Severity) -> list[tuple[Reason, Ranked]]:
        """The most frequent first."""
        found = [(reason, ranked) for reason, ranked in self.reasons.items() if reason.severity is severity]
        return sorted(found, key=lambda each: (-each[1].documents, each[0].reason, each[0].kind, each[0].field))

    def add(self, file: str, content: str, namespace: str = "default") -> None:
        """Of one text, as if there were no other."""
        world = build(read([(file, content)], namespace))
        problems = tuple(dict.fromkeys((*world.desired.problems, *world.pod_problems)))
        loaded = load(content, file, namespace)
        worst = _worst(problems)
        good = {manifest.ref for manifest in loaded.manifests}
        refused = {ref for ref in (*loaded.broken, *good) if worst.get(ref) is Severity.ERROR or ref in loaded.broken}
        warned = {ref for ref in good - refused if worst.get(ref) is Severity.WARNING}
        unnamed = [problem for problem in problems if problem.ref is None]
        self.files += 1
        self.refused += len(refused) + sum(problem.severity is Severity.ERROR for problem in unnamed)
        self.warned += len(warned)
        holder = loaded.mesh_config.ref if loaded.mesh_config is not None else None
        used = {*good, *([holder] if holder is not None else [])}
        self.used += len(used - refused - warned)
        self.others += len(worst.keys() - used - refused)
        self.others += sum(problem.severity is not Severity.ERROR for problem in unnamed)
        self._count(problems, refused | warned)

    def refuse(self, problem: Problem) -> None:
        """A file that can't be read at all."""
        self.files += 1
        self.refused += 1
        self._count((problem,), set())

    def _count(self, problems: Iterable[Problem], counted: set[ObjectRef]) -> None:
        """A document once for each reason."""
        seen: set[tuple[ObjectRef | None, Reason]] = set()
        for problem in problems:
            if problem.severity is Severity.INFO or not (problem.ref is None or problem.ref in counted):
                continue
            kind = str(problem.ref.kind) if problem.ref is not None else ""
            reason = Reason(problem.severity, problem.reason, kind, _INDEX.sub("[]", problem.field))
            if problem.ref is not None and (problem.ref, reason) in seen:
                continue
            seen.add((problem.ref, reason))
            ranked = self.reasons.setdefault(reason, Ranked())
            ranked.documents += 1
            ranked.example = ranked.example or problem


_ORDER = (Severity.INFO, Severity.WARNING, Severity.ERROR)


def _worst(problems: Iterable[Problem]) -> dict[ObjectRef, Severity]:
    found: dict[ObjectRef, Severity] = {}
    for problem in problems:
        if problem.ref is not None:
            found[problem.ref] = max(found.get(problem.ref, Severity.INFO), problem.severity, key=_ORDER.index)
    return found
